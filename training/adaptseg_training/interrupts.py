"""Ctrl-C and SIGTERM ask the loop to stop after the step at hand; a second Ctrl-C stops at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """What was asked for so far."""

    name: str = ""
    """Name of the signal that came; empty while nothing did."""


@contextmanager
def catching_interrupts() -> Iterator[Interrupt]:
    """Inside, the first SIGINT or SIGTERM only fills the yielded Interrupt."""
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.name:
            raise KeyboardInterrupt
        interrupt.name = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
