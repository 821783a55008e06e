"""Leaving in good order: from SIGTERM to the end of the process.

At once: readiness and health say no, new work is refused with a clear answer (the doors stay open, so that nobody
meets a closed port before the load balancer has noticed). After ADAPTSEG_DRAIN_NOTICE: the listening sockets close,
in-flight work finishes. After ADAPTSEG_DRAIN_GRACE more: what still waits is answered with an error.
"""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from adaptseg_serve.segmenter import Segmenter

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAST_CALL = 1.0
"""Seconds for answers to leave after everything is finished, before lingering connections are cut."""

Handler = Callable[[int, FrameType | None], Any]


class Door(Protocol):
    """A server beside HTTP, as GrpcServer is."""

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...


class Drain:
    """Chains the HTTP server's signal handlers. Create it, and call `install`, in the running event loop."""

    def __init__(self, segmenter: Segmenter, doors: list[Door]) -> None:
        self._segmenter = segmenter
        self._doors = doors
        self._loop = asyncio.get_running_loop()
        self._previous: dict[int, Handler] = {}
        self._task: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._begun = False

    def install(self) -> None:
        for number in SIGNALS:
            previous = signal.signal(number, self._on_signal)
            self._previous[number] = previous if callable(previous) else _ignore

    async def finish(self) -> None:
        """Close the other doors and the segmenter, within the grace.

        It is called twice, after the notice and by the HTTP server's end, which may come sooner than the doors': both
        wait for the one end.
        """
        if self._finishing is None:
            self._finishing = self._loop.create_task(self._finish())
        await asyncio.shield(self._finishing)

    async def _finish(self) -> None:
        grace = self._segmenter.settings.drain_grace
        self._segmenter.drain()
        await asyncio.gather(*(door.stop(grace) for door in self._doors), self._segmenter.finish(grace))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._begun:  # Ctrl-C reaches this process twice, and a second signal means "now".
            self._previous[number](number, frame)
        else:
            self._begun = True
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        self._task = self._loop.create_task(self._leave(number))

    async def _leave(self, number: int) -> None:
        self._segmenter.drain()
        await asyncio.sleep(self._segmenter.settings.drain_notice)
        self._previous[number](number, None)
        await self.finish()
        await asyncio.sleep(LAST_CALL)
        # uvicorn takes a second SIGINT as "cut the connections that are still open".
        self._previous[signal.SIGINT](signal.SIGINT, None)


def _ignore(number: int, frame: FrameType | None) -> None:
    """In place of SIG_DFL and SIG_IGN, which can't be called."""
