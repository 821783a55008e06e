"""Ctrl-C and SIGTERM ask the loop to stop after the step at hand; a second Ctrl-C stops at once, but never a save."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """What was asked for so far."""

    number: int = 0
    """Of the first signal that came; 0 while none did."""
    patient: bool = False
    """Now, a second Ctrl-C is only noted, too."""

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler: KeyboardInterrupt for a Ctrl-C after another signal, unless `patient`."""
        if self.number and number == signal.SIGINT and not self.patient:
            raise KeyboardInterrupt
        self.number = self.number or number

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, nothing interrupts: for saving."""
        before, self.patient = self.patient, True
        try:
            yield
        finally:
            self.patient = before


@contextmanager
def catching_interrupts(patient: bool = False) -> Iterator[Interrupt]:
    """Inside, the first SIGINT or SIGTERM only fills the yielded Interrupt.

    `patient`: so do all others. torchrun passes on each signal that it gets, so one Ctrl-C may arrive twice.
    """
    interrupt = Interrupt(patient=patient)
    before = {number: signal.signal(number, interrupt.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def name_of(number: int) -> str:
    """SIGINT, SIGTERM ..."""
    return signal.Signals(number).name


def exit_code(number: int) -> int:
    """What a shell sees of a process that signal `number` ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number
