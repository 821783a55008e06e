"""What goes wrong in a run ends with a sentence, a saved state and an exit code; a resume gives the same bits."""

import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.runs import assert_same_run, files_of_at_most, last, run_folder, train
from torch import nn

from adaptseg_training import files, observe
from adaptseg_training.checkpoint import GENERATOR, saved_checkpoints
from adaptseg_training.data.sampler import sample_index
from adaptseg_training.domains import TARGET_SEED
from adaptseg_training.errors import DataError, StorageError
from adaptseg_training.models import Discriminator, Generator
from adaptseg_training.scalars import Scalars

# Saved at the end alone, so whatever else is saved was rescued; batch norm's statistics and the class shares are there
# to be put back.
FLAGS = ("tiny.yaml", "--generator.bn", "reference", "--run.checkpoint-every", "100", "--target.dataset", "frames")
FLAGS = (*FLAGS, "--target.root", "frames", "--balance-shares", "4")
FRAMES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with run_folder(tmp_path_factory.mktemp("failures")) as place:
        (place / "frames").mkdir()
        for i in range(FRAMES):
            pixels = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(frame(place, i)), pixels)
        yield place


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """The run that nothing happened to."""
    code, said = train(folder, *FLAGS, "--run.name", "whole")
    assert code == 0, said
    return folder / "runs" / "whole"


def frame(folder: Path, index: int) -> Path:
    return folder / "frames" / f"{index}.png"


def check_resumes(folder: Path, whole: Path, run: Path, said: str, done: int) -> None:
    assert "Traceback" not in said
    assert f"--run.resume {run.relative_to(folder)}" in said
    assert [path.name for path in saved_checkpoints(run)] == [f"step_{done:08d}"]
    code, said = train(folder, "--run.resume", str(run))
    assert code == 0, said
    assert_same_run(whole, run)


def run_out_of_memory(network: type[nn.Module], forwards: int) -> None:
    """The forward of that number, of such a network, finds no memory. A step has a source's and a target's of each;
    the main discriminator's of the source comes last."""
    seen = 0

    def count(module: nn.Module, inputs: object) -> None:
        nonlocal seen
        seen += isinstance(module, network) and module.training
        if seen == forwards:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    nn.modules.module.register_module_forward_pre_hook(count)


@pytest.mark.parametrize(("network", "forwards"), [(Generator, 6), (Discriminator, 12)])
def test_memory_runs_out(folder: Path, whole: Path, network: type[nn.Module], forwards: int) -> None:
    name = f"memory-{network.__name__}"
    code, said = train(folder, *FLAGS, "--run.name", name, sabotage=partial(run_out_of_memory, network, forwards))
    assert code == 1
    assert "step 3 ran out of memory" in said
    assert "--run.batch-size" in said
    check_resumes(folder, whole, folder / "runs" / name, said, 2)


def fail_to_evaluate(error: Exception) -> None:
    """The first evaluation ends so."""

    def evaluate(*_: object) -> object:
        raise error

    observe.evaluate = evaluate  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("unscored", torch.OutOfMemoryError("CUDA out of memory."), "the evaluation ran out of memory: CUDA"),
        ("cudnn", RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the evaluation ran out of memory: cuDNN"),
        ("unread", DataError("night.png can't be read; mend it."), "the evaluation failed: night.png can't be read"),
    ],
)
def test_an_evaluation_that_fails_is_made_up_for(
    folder: Path, whole: Path, name: str, error: Exception, match: str
) -> None:
    """The resume that the error names has nothing to train, and still has that to do."""
    code, said = train(folder, *FLAGS, "--run.name", name, sabotage=partial(fail_to_evaluate, error))
    assert code == 1
    assert match in said
    assert "skip-unreadable" not in said
    check_resumes(folder, whole, folder / "runs" / name, said, 4)


def test_an_unreadable_file_is_named(folder: Path, whole: Path) -> None:
    broken = frame(folder, sample_index(1234 + TARGET_SEED, 2, FRAMES))
    good = broken.read_bytes()
    broken.write_bytes(good[:40])
    code, said = train(folder, *FLAGS, "--run.name", "unreadable")
    broken.write_bytes(good)
    assert code == 1
    assert broken.name in said
    assert "--target.skip-unreadable" in said
    check_resumes(folder, whole, folder / "runs" / "unreadable", said, 2)


@pytest.mark.parametrize(
    ("file", "link", "done"),
    [("scalars.csv", "scalars.csv", 3), ("step_00000004.png", "previews/.step_00000004.png.saving", 4)],
)
def test_a_full_disk(folder: Path, whole: Path, file: str, link: str, done: int) -> None:
    run = folder / "runs" / f"full-{done}"
    assert train(folder, *FLAGS, "--run.name", run.name, "--run.stop-step", "2", "--run.keep", "1")[0] == 0
    kept = (run / link).read_bytes() if (run / link).exists() else b""
    (run / link).unlink(missing_ok=True)
    (run / link).symlink_to("/dev/full")
    code, said = train(folder, "--run.resume", str(run), "--run.stop-step", "4", "--run.checkpoint-every", "100")
    assert code == 1
    assert f"{file} can't be written: No space left on device" in said
    (run / link).unlink()
    if kept:
        (run / link).write_bytes(kept)
    assert "Traceback" not in said
    assert last(run).with_name(f"step_{done:08d}").is_dir()
    assert f"after step {done} is saved" in said


def test_a_scalar_that_a_resume_brings_is_a_new_column(tmp_path: Path) -> None:
    for start, values in ((0, {"a": 1.5}), (1, {"a": 2.5, "b": 3.5}), (2, {"a": 4.5})):
        scalars = Scalars(tmp_path, start)
        scalars.add(start + 1, values)
        scalars.close()
    assert (tmp_path / "scalars.csv").read_text().splitlines() == ["step,a,b", "1,1.5,", "2,2.5,3.5", "3,4.5,"]


def test_tensorboard_says_when_the_disk_is_full(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scalars = Scalars(tmp_path, 0)

    def add_many() -> None:
        for step in range(1000):
            (tmp_path / "scalars.csv").unlink(missing_ok=True)
            scalars.add(step, {"seg/main": 1.0})

    with files_of_at_most(2000), pytest.raises(StorageError, match="tensorboard can't be written"):
        add_many()
    assert "Traceback" not in capfd.readouterr().err


def interrupt_inside_save(signals: tuple[signal.Signals, ...]) -> None:
    real = files.flush

    def flush(path: Path) -> None:
        if path.name == ".step_00000002.saving":
            for number in signals:
                os.kill(os.getpid(), number)
        real(path)

    files.flush = flush


@pytest.mark.parametrize(
    ("name", "signals", "expected"),
    [
        ("impatient", (signal.SIGINT, signal.SIGTERM, signal.SIGINT), 130),
        ("terminated", (signal.SIGTERM,), 143),
    ],
)
def test_signals_inside_a_save(
    folder: Path, whole: Path, name: str, signals: tuple[signal.Signals, ...], expected: int
) -> None:
    saving = ("--run.name", name, "--run.checkpoint-every", "2")
    code, said = train(folder, *FLAGS, *saving, sabotage=partial(interrupt_inside_save, signals))
    assert code == expected
    assert f"{signals[0].name}: stopped after step 2" in said
    check_resumes(folder, whole, folder / "runs" / name, said, 2)


def test_a_run_that_could_not_begin_leaves_no_folder(folder: Path) -> None:
    code, said = train(folder, *FLAGS, "--run.name", "mistyped", "--generator.weights", "no/such.safetensors")
    assert code == 2, said
    assert "no weights file no/such.safetensors" in said
    assert not (folder / "runs" / "mistyped").exists()


def test_a_run_that_can_not_go_on_keeps_its_folder(folder: Path) -> None:
    mistyped = ("--run.name", "noted", "--generator.weights", "no/such.safetensors")
    note = folder / "runs" / "noted" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    assert train(folder, *FLAGS, *mistyped)[0] == 2
    assert note.read_text() == "mine"


def test_resuming_needs_no_initial_weights(folder: Path, whole: Path) -> None:
    weights = folder / "weights.safetensors"
    shutil.copy(last(whole) / GENERATOR, weights)
    initial = ("--generator.weights", str(weights), "--run.name", "initial", "--run.stop-step", "1")
    assert train(folder, *FLAGS, *initial)[0] == 0
    weights.unlink()
    code, said = train(folder, "--run.resume", "runs/initial", "--run.stop-step", "2")
    assert code == 0, said


def test_a_target_that_teaches_nothing_is_not_read(folder: Path) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "1.png").write_bytes(b"no picture")
    idle = ("--aux.adv-weight", "0", "--main.adv-weight", "0", "--target.root", "broken", "--run.preview-every", "0")
    code, said = train(folder, *FLAGS, *idle, "--balance-shares", "1", "--run.name", "idle")
    assert code == 0, said
    assert "nothing learns from the target" in said
