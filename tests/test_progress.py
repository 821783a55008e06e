"""What the screen says of a run: the time that is left, after a resume too, and nothing from ranks but the first."""

import pytest
from rich.progress import TimeRemainingColumn

from adaptseg_training import progress
from adaptseg_training.progress import Reporter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still unless its one number is changed."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_resumed_run_counts_its_own_steps(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(start=900, stop=1000, frames_per_step=8, log_every=10)
    with reporter:
        for done in range(901, 911):
            clock[0] += 2.0
            reporter.advance(done, {"seg/main": 1.5})
    said = capsys.readouterr().out
    assert said == "step 910/1000  seg/main 1.500  4.0 frames/s  left 0:03:00\n"


def test_the_live_line_counts_its_own_steps() -> None:
    """Rich's estimate, on its own clock: 900 steps were done before, 10 in 20 s, 90 are left."""
    now = [0.0]
    reporter = Reporter(start=900, stop=1000, frames_per_step=8, log_every=10)
    reporter._live.get_time = lambda: now[0]
    (task,) = reporter._live.tasks
    task._get_time = lambda: now[0]
    reporter._live.start_task(task.id)
    for done in range(901, 911):
        now[0] += 2.0
        reporter._live.update(task.id, completed=done)
    assert task.time_remaining == pytest.approx(180, abs=2)
    assert "0:03:00" in str(TimeRemainingColumn().render(task))


def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(start=0, stop=2, frames_per_step=8, log_every=1, quiet=True) as reporter:
        reporter.say("run: here")
        reporter.advance(1, {"seg/main": 1.0})
    assert capsys.readouterr().out == ""
