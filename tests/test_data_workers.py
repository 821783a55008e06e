"""A run and the processes that prepare its images: what becomes of one where the other is killed or told to stop."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import resource_sharer
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.runs import run_folder, started, train

from adaptseg_training.checkpoint import saved_checkpoints
from adaptseg_training.data.loading import Fetched, SampleStream

LONG = ("tiny.yaml", "--run.stop-step", "90", "--run.checkpoint-every", "1", "--run.preview-every", "0")
LONG = (*LONG, "--run.workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with run_folder(tmp_path_factory.mktemp("workers")) as place:
        yield place


def workers(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_dead_worker(folder: Path) -> None:
    run = folder / "runs" / "worker"
    with started(folder, *LONG, "--run.name", run.name) as child:
        child.wait_for(lambda: saved_checkpoints(run))
        os.kill(workers(child.process.pid)[0], signal.SIGKILL)
        assert child.wait() == 1
        said = child.said
    assert "a process that prepares images died" in said
    assert f"is saved in runs/worker/checkpoints/{saved_checkpoints(run)[-1].name}" in said
    assert "Traceback" not in said


def die_handing_over() -> None:
    """A worker that is asked for the memory that its batch is in: DataLoader may not know yet that it is gone."""

    def serve(sharer: Any) -> None:
        sharer._listener.accept()
        os._exit(1)

    resource_sharer._resource_sharer.__class__._serve = serve  # type: ignore[method-assign]  # sabotage


def test_a_worker_that_dies_handing_a_batch_over(folder: Path) -> None:
    code, said = train(folder, *LONG, "--run.name", "handing", sabotage=die_handing_over)
    assert code == 1
    assert "a process that prepares images died" in said
    assert "Traceback" not in said


def decode_slowly() -> None:
    real = SampleStream.__getitem__

    def slow(stream: SampleStream, position: int) -> Fetched:
        time.sleep(1)
        return real(stream, position)

    SampleStream.__getitem__ = slow  # type: ignore[method-assign]  # sabotage


def test_a_signal_to_the_whole_group_finds_a_run_that_waits_for_images(folder: Path) -> None:
    """A terminal's or a scheduler's: the workers die of it, and the run has been asked to stop."""
    run = folder / "runs" / "group"
    with started(folder, *LONG, "--run.name", run.name, sabotage=decode_slowly) as child:
        child.wait_for(lambda: saved_checkpoints(run))
        for pid in (child.process.pid or 0, *workers(child.process.pid)):
            os.kill(pid, signal.SIGTERM)
        assert child.wait() == 143
        said = child.said
    assert "SIGTERM: stopped after step" in said
    assert "Traceback" not in said


def test_two_processes_cannot_train_one_run(folder: Path) -> None:
    run = folder / "runs" / "locked"
    with started(folder, *LONG, "--run.name", run.name) as child:
        child.wait_for(lambda: saved_checkpoints(run))
        for again in (["--run.resume", str(run)], ["tiny.yaml", "--run.name", run.name]):
            code, said = train(folder, *again)
            assert code == 2
            assert f"in use by process {child.process.pid} on" in said or "holds a run already" in said
        orphans = workers(child.process.pid)
        for orphan in orphans:
            os.kill(orphan, signal.SIGSTOP)
        child.process.kill()
        child.process.join()
    try:
        code, said = train(folder, "--run.resume", str(run), "--run.stop-step", str(len(saved_checkpoints(run))))
        assert code == 0, said
        assert all(psutil.pid_exists(orphan) for orphan in orphans), "what they hold is no lock"
    finally:
        for orphan in orphans:
            os.kill(orphan, signal.SIGCONT)


def start_workers_by(method: str) -> None:
    multiprocessing.set_start_method(method, force=True)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_end_with_a_run_that_was_killed(folder: Path, method: str) -> None:
    """A fork server is Python 3.14's default, and what its workers have as a parent."""
    run = folder / "runs" / method
    sabotage = partial(start_workers_by, method)
    with started(folder, *LONG, "--run.name", run.name, sabotage=sabotage) as child:
        child.wait_for(lambda: saved_checkpoints(run))
        started_by_it = psutil.Process(child.process.pid).children(recursive=True)
        assert sum(process.name() == "pt_data_worker" for process in started_by_it) == 2
        child.process.kill()
    _, alive = psutil.wait_procs(started_by_it, 20)
    for process in alive:
        process.kill()
    assert alive == []
