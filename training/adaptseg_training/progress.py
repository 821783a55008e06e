"""What a person sees while a run goes on: a live line in a terminal, plain lines in a log."""

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_WINDOW = 50


class Reporter:
    """A context manager; `advance` after every step, `say` for what should stay on the screen."""

    def __init__(self, start: int, stop: int, frames_per_step: int, log_every: int, quiet: bool = False) -> None:
        self.console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._stop, self._log_every, self._frames = stop, log_every, frames_per_step
        self._times: deque[tuple[int, float]] = deque([(start, time.monotonic())], maxlen=_WINDOW)
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._live.add_task("step", total=stop, completed=start, losses="")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print `text` above the live line."""
        self.console.print(text, markup=False)

    def advance(self, done: int, losses: dict[str, float]) -> None:
        """`done` steps of the run are behind us."""
        self._times.append((done, time.monotonic()))
        line = f"{summary(losses)}  {self.frames_per_second():.1f} frames/s"
        if self.console.is_terminal:
            self._live.update(self._task, completed=done, losses=line)
        elif done % self._log_every == 0 or done == self._stop:
            self.say(f"step {done}/{self._stop}  {line}  left {self._left(done)}")

    def frames_per_second(self) -> float:
        """Training images a second, both domains together, over the last steps."""
        (first, began), (last, ended) = self._times[0], self._times[-1]
        return (last - first) * self._frames / max(ended - began, 1e-9)

    def _left(self, done: int) -> str:
        seconds = int((self._stop - done) * self._frames / max(self.frames_per_second(), 1e-9))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def summary(losses: dict[str, float]) -> str:
    """The losses that people watch, short; scalars.csv has all."""
    shown = {k: v for k, v in losses.items() if k.split("/")[0] in {"seg", "adv", "disc_accuracy", "self"}}
    return "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
