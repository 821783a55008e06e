"""What both kinds of streams share: how many may be open, and their end when the service drains."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from adaptseg_serve.errors import Busy
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.segmenter import Segmenter

T = TypeVar("T")


class Streams:
    """Counts StreamSegment and ModelStreamInfer calls together: each keeps frames and answers, and a place among those
    at work. Used in the event loop's thread."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._metrics, self._open = most, metrics, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """While a stream is open. Raises Busy where `most` are."""
        if self._open >= self._most:
            self._metrics.request("grpc", "error", Busy.name)
            raise Busy(
                f"{self._open} streams are open, and no more are served. Try again after the time in RetryInfo, "
                "end one, or raise ADAPTSEG_MAX_STREAMS."
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def until_drain(requests: AsyncIterator[T], segmenter: Segmenter) -> AsyncGenerator[T, None]:
    """The requests of a stream until the service drains: a camera that pauses must not hold it up."""
    drained = asyncio.ensure_future(segmenter.drained.wait())
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(requests))
            await asyncio.wait({coming, drained}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            try:
                request = coming.result()
            except StopAsyncIteration:
                return
            yield request
    finally:
        drained.cancel()
        if coming is not None:
            coming.cancel()


def check_drain(segmenter: Segmenter) -> None:
    """Raise Busy where a stream ended because the service does."""
    if segmenter.draining:
        raise Busy("The service is shutting down. Open the stream again, to another replica.", 2.0)
