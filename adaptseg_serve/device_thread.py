"""The one thread that a device's batches run in, with a shorter way there and back than a pool's futures."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Work = TypeVar("Work")
Outcome = TypeVar("Outcome")


class DeviceThread(Generic[Work, Outcome]):
    """Does work in the order it is handed in. Create it and call every method in the event loop's thread.

    work: what the thread calls. done: what the event loop calls with each outcome: what `work` returned or raised.
    """

    def __init__(
        self,
        work: Callable[[Work], Outcome],
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Outcome | BaseException], object],
    ) -> None:
        self._work, self._loop, self._done = work, loop, done
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    def run(self, work: Work) -> None:
        """Hand in `work`, which is not None, and return at once."""
        self._queue.put(work)

    def close(self) -> None:
        """Wait for what was handed in, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (work := self._queue.get()) is not None:
            outcome = self._attempt(work)
            del work  # Else its images would live until the next batch comes.
            with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits.
                self._loop.call_soon_threadsafe(self._done, outcome)
            del outcome

    def _attempt(self, work: Work) -> Outcome | BaseException:
        try:
            return self._work(work)
        except BaseException as error:  # Whatever it is, the client hears of it.
            return error
