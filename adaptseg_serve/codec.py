"""The bounded pool that decoding, encoding and rendering run in, beside the event loop and the device's thread."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adaptseg_serve.errors import DeadlineExceeded

T = TypeVar("T")


class Codec:
    """So many threads. Call it in the event loop's thread."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="codec")

    async def __call__(self, work: Callable[[], T], deadline: float | None = None, done: str = "done") -> T:
        """What `work` returns or raises.

        Raises DeadlineExceeded at `deadline`, time.monotonic() seconds, if it is not `done` by then.
        """
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                return await running
        except TimeoutError:
            raise DeadlineExceeded(f"The request's deadline passed before it was {done}. Allow it more time.") from None
        finally:
            del running  # Else it, its error and this frame hold each other, and the request: see errors.py.

    def close(self) -> None:
        """Let the threads end after what they do, without waiting for it."""
        self._pool.shutdown(wait=False)
