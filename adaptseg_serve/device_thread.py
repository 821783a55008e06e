"""The one thread that a device's batches run in, with a shorter way there and back than a pool's futures."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")


class DeviceThread:
    """Does tasks in the order they are handed in. Create it and call every method in the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], object]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    def run(self, task: Callable[[], Outcome], done: Callable[[Outcome | BaseException], object]) -> None:
        """Hand in `task` and return at once. The event loop calls `done` with what it returned or raised."""
        self._queue.put((task, done))

    async def wait_for(self, task: Callable[[], Outcome]) -> Outcome:
        """What `task` returns or raises in the thread."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self.run(task, partial(_settle, future))
        return await future

    def end(self) -> None:
        """Let the thread end after what was handed in, without waiting for it."""
        self._queue.put(None)

    def close(self) -> None:
        """Wait for what was handed in, and end the thread."""
        self.end()
        self._thread.join()

    def _serve(self) -> None:
        while (handed := self._queue.get()) is not None:
            task, done = handed
            outcome = _attempt(task)
            del handed, task  # Else its images would live until the next batch comes.
            with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits.
                self._loop.call_soon_threadsafe(done, outcome)
            del done, outcome


def _attempt(task: Callable[[], Outcome]) -> Outcome | BaseException:
    try:
        return task()
    except BaseException as error:  # Whatever it is, the client hears of it.
        return error


def _settle(future: "asyncio.Future[Outcome]", outcome: Outcome | BaseException) -> None:
    if future.cancelled():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
