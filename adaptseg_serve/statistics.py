"""Counts and nanoseconds of the Open Inference Protocol's requests since the process started, over either door."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaptseg_serve.segmentation import Timings


@dataclass
class Duration:
    """How often something happened, and the time it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * 1e9)


class Statistics:
    """Sums by request; the stages of a request are those of its image that took longest."""

    def __init__(self) -> None:
        self._last = 0
        self._success, self._fail = Duration(), Duration()
        self._queue, self._compute_input, self._compute_infer = Duration(), Duration(), Duration()

    def succeeded(self, images: Sequence["Timings"], seconds: float) -> None:
        """Add one answered request, its images' timings and the time it took in all."""
        self._last = time.time_ns() // 1_000_000
        slowest = max(images, key=lambda t: t.decode + t.queue + t.infer)
        self._success.add(seconds)
        self._compute_input.add(slowest.decode)
        self._queue.add(slowest.queue)
        self._compute_infer.add(slowest.infer)

    def failed(self, seconds: float) -> None:
        self._fail.add(seconds)

    def document(self) -> dict[str, Any]:
        """`last_inference` and `inference_stats`, as the protocol names them.

        compute_output takes no time: the label map leaves as the network's thread made it, and what writing it takes
        is in the metrics ("encode"). It is counted all the same, since perf_analyzer ends where the counts differ.
        """
        stats = {
            "success": self._success,
            "fail": self._fail,
            "queue": self._queue,
            "compute_input": self._compute_input,
            "compute_infer": self._compute_infer,
            "compute_output": Duration(self._success.count),
        }
        return {
            "last_inference": self._last,
            "inference_stats": {name: asdict(duration) for name, duration in stats.items()},
        }
