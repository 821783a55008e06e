"""How many streams are open on the door: each keeps frames and answers, and a place among those at work."""

from collections.abc import Iterator
from contextlib import contextmanager

from adaptseg_serve.errors import Busy
from adaptseg_serve.metrics import Metrics


class Streams:
    """Counts StreamSegment and ModelStreamInfer calls together. Used in the event loop's thread."""

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
