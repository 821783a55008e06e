"""A rank that fails, is interrupted or is killed takes the others along, after rank 0 has saved."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from helpers.runs import assert_same_run, run_folder, started_ranks, train_in_ranks
from test_failures import run_out_of_memory

from adaptseg_training.checkpoint import saved_checkpoints
from adaptseg_training.models import Generator

FLAGS = ("tiny.yaml", "--run.batch-size", "2", "--run.checkpoint-every", "100", "--generator.bn", "reference")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with run_folder(tmp_path_factory.mktemp("ranks")) as place:
        yield place


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    ranks = train_in_ranks(folder, *FLAGS, "--run.name", "whole")
    assert [code for code, _ in ranks] == [0, 0], ranks
    return folder / "runs" / "whole"


def check_resumes(folder: Path, whole: Path, run: Path) -> None:
    ranks = train_in_ranks(folder, "--run.resume", str(run))
    assert [code for code, _ in ranks] == [0, 0], ranks
    assert_same_run(whole, run)


def test_memory_runs_out_on_one(folder: Path, whole: Path) -> None:
    run = folder / "runs" / "memory"
    sabotages = (None, partial(run_out_of_memory, Generator, 6))
    (code, said), (other_code, other_said) = train_in_ranks(folder, *FLAGS, "--run.name", run.name, sabotages=sabotages)
    assert (code, other_code, other_said) == (1, 1, "")
    assert "step 3 ran out of memory" in said
    assert "The state after step 2 is saved" in said
    assert [path.name for path in saved_checkpoints(run)] == ["step_00000002"]
    check_resumes(folder, whole, run)


def test_a_signal_to_one_stops_all(folder: Path, whole: Path) -> None:
    run = folder / "runs" / "signalled"
    with started_ranks(folder, *FLAGS, "--run.name", run.name, "--run.stop-step", "90") as (first, second):
        first.wait_for(lambda: "step 1/" in first.said)
        os.kill(second.process.pid or 0, signal.SIGTERM)
        assert (first.wait(), second.wait()) == (143, 143)
        assert "SIGTERM: stopped after step" in first.said
        assert second.said == ""
    assert len(saved_checkpoints(run)) == 1


def test_a_killed_rank_is_noticed_and_the_state_saved(folder: Path, whole: Path) -> None:
    run = folder / "runs" / "killed"
    with started_ranks(folder, *FLAGS, "--run.name", run.name, "--run.stop-step", "90") as (first, second):
        first.wait_for(lambda: "step 1/" in first.said)
        second.process.kill()
        assert first.wait() == 1
        assert "another process of this run is gone" in first.said
        assert "is saved in" in first.said
        assert "Traceback" not in first.said
    assert len(saved_checkpoints(run)) == 1
