"""Answers in the order of their requests, with several at work at once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


async def in_order(
    requests: AsyncIterator[Q], answer: Callable[[Q], Awaitable[A]], window: int
) -> AsyncGenerator[A, None]:
    """Yield `answer(request)` of each request, in order; requests are read no further than `window` ahead."""
    slots = asyncio.Semaphore(window)
    tasks: asyncio.Queue[asyncio.Future[A] | None] = asyncio.Queue()
    started: set[asyncio.Future[A]] = set()

    async def read() -> None:
        try:
            await slots.acquire()
            async for request in requests:
                task = asyncio.ensure_future(answer(request))
                started.add(task)
                tasks.put_nowait(task)
                await slots.acquire()
        finally:
            tasks.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            started.discard(task)
            slots.release()
        await reader
    finally:
        reader.cancel()
        for task in started:
            task.cancel()
