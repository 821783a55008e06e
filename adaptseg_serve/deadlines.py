"""One timer for the deadlines of all that is under way: most requests are answered long before theirs."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Due(Protocol):
    """What has a deadline."""

    @property
    def deadline(self) -> float | None:
        """time.monotonic() seconds; None for none."""


D = TypeVar("D", bound=Due)
_NEVER = float("inf")


class Deadlines(Generic[D]):
    """Calls `expired` with each of those added whose deadline passes before they are done. In the event loop's thread.

    A timer of its own for each would be made and thrown away for every frame.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[D], object]) -> None:
        self._loop, self._expired = loop, expired
        self._open = set[D]()
        self._next = _NEVER
        """When the timer comes by."""
        self._timer: asyncio.TimerHandle | None = None
        self._nobodys = contextvars.Context()
        """The timer must not keep the context of whoever came first."""

    def add(self, each: D) -> None:
        if each.deadline is not None:
            self._open.add(each)
            if each.deadline < self._next:
                self._set_timer(each.deadline)

    def done(self, each: D) -> None:
        """It needs no deadline any more. The timer stays: the next is mostly due no earlier."""
        self._open.discard(each)

    def close(self) -> None:
        self._open.clear()
        self._set_timer(_NEVER)

    def _look(self) -> None:
        now = time.monotonic()
        for each in [each for each in self._open if each.deadline is not None and each.deadline <= now]:
            self._open.discard(each)
            self._expired(each)
        self._set_timer(min((each.deadline for each in self._open if each.deadline is not None), default=_NEVER))

    def _set_timer(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next, self._timer = moment, None
        if moment < _NEVER:
            self._timer = self._loop.call_later(moment - time.monotonic(), self._look, context=self._nobodys)
