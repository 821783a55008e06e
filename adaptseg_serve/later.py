"""Bookkeeping that waits until answers have left: counters, log lines, spans' ends.

A frame pushes the code of whatever comes after it out of the processor's caches, so that counting one request alone
takes several times as long as counting ten in a row (ADR 6). So it is done a few requests at a time.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class Later:
    """Calls functions in the order they came, a few at a time, when what they tell of is over."""

    DELAY = 0.02
    """Seconds that the first of them waits."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._due_in: asyncio.AbstractEventLoop | None = None
        """The event loop that will come back to them."""
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, function: Callable[..., object], *arguments: Any) -> None:
        """In the event loop's thread. Where no loop runs any more (an abandoned stream is closed), at once."""
        self._calls.append((function, arguments))
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due_in is not loop:
            self._due_in = loop
            self._timer = loop.call_later(self.DELAY, self.flush)

    def soon(self) -> None:
        """Nobody waits for an answer: come back to them once the loop has sent what it has.

        A single client makes its next request meanwhile, and would have to wait for them in the midst of it.
        """
        if self._due_in is not None and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._due_in.call_soon(self.flush)

    def flush(self) -> None:
        """Call what waits: also before the event loop ends."""
        self._due_in = self._timer = None
        calls, self._calls = self._calls, []
        for function, arguments in calls:
            function(*arguments)
