"""kill -9 at any point of a run, in the middle of a save too: what is resumed ends with the bits of the whole run."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from helpers.runs import assert_same_run, run_folder, started, train

from adaptseg_training import files, run
from adaptseg_training.checkpoint import load_checkpoint, saved_checkpoints

EVALUATING = ("tiny.yaml", "--run.evaluate-every", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with run_folder(tmp_path_factory.mktemp("kill")) as place:
        yield place


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """The uninterrupted run."""
    code, said = train(folder, *EVALUATING, "--run.name", "whole")
    assert code == 0, said
    return folder / "runs" / "whole"


def die_before(name: str, nth: int) -> None:
    """SIGKILL instead of the `nth` call of `files.flush` for a path that ends in `name`."""
    real, seen = files.flush, 0

    def flush(path: Path) -> None:
        nonlocal seen
        seen += str(path).endswith(name)
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        real(path)

    files.flush = flush


# Of the save and the scoring of step 2, in order: one file is written, all are, the folder is whole but unnamed; it
# has its name but no score; its score is not yet in it; "best" points to it (unless step 1 was better).
@pytest.mark.parametrize(
    ("called", "name", "nth"),
    [
        ("one-file", "checkpoints/.step_00000002.saving/generator.safetensors", 1),
        ("unnamed", "checkpoints/.step_00000002.saving", 1),
        ("named", "named/checkpoints", 3),
        ("recorded", "step_00000002/.checkpoint.json.saving", 1),
        ("marked", "marked/checkpoints", 4),
        ("scored", ".metrics.json.saving", 3),
        ("unborn", ".config.yaml.saving", 1),
    ],
)
def test_a_run_killed_inside_a_save_goes_on_to_the_same_bits(
    folder: Path, whole: Path, called: str, name: str, nth: int
) -> None:
    place = folder / "runs" / called
    code, said = train(folder, *EVALUATING, "--run.name", called, sabotage=partial(die_before, name, nth))
    assert code == -signal.SIGKILL, said
    again = ["--run.resume", str(place)] if called != "unborn" else [*EVALUATING, "--run.name", called]
    code, said = train(folder, *again)
    assert code == 0, said
    assert_same_run(whole, place)
    assert not list(place.rglob(".*.saving"))


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bits(folder: Path, whole: Path) -> None:
    place = folder / "runs" / "anytime"
    with started(folder, *EVALUATING, "--run.name", "anytime") as child:
        child.wait_for(lambda: saved_checkpoints(place))
        child.process.kill()
        child.process.join()
    code, said = train(folder, "--run.resume", str(place))
    assert code == 0, said
    assert_same_run(whole, place)


def die_before_marking() -> None:
    """SIGKILL between the first checkpoint's rename and its marking as best."""

    def point_to(link: Path, target: Path) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    run.point_to = point_to  # type: ignore[attr-defined]


def test_a_resume_marks_the_best_checkpoint_that_a_killed_run_did_not(folder: Path) -> None:
    place = folder / "runs" / "unmarked"
    code, said = train(folder, *EVALUATING, "--run.name", "unmarked", sabotage=die_before_marking)
    assert code == -signal.SIGKILL, said
    assert [path.name for path in (place / "checkpoints").iterdir()] == ["step_00000001"]
    code, said = train(folder, "--run.resume", str(place), "--run.stop-step", "1")
    assert code == 0, said
    assert load_checkpoint(place / "checkpoints" / "best").step == 1
