"""What ModelStatistics reports: counts and nanoseconds since the server started."""

import time
from collections.abc import Sequence

from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.segmenter import Segmentation


class Statistics:
    """Sums over every ModelInfer of this process."""

    def __init__(self) -> None:
        self._images = 0
        self._last = 0
        self._sums = pb.InferStatistics()

    def succeeded(self, answers: Sequence[Segmentation], started: float) -> None:
        """Add one answered request; `started` in time.monotonic() seconds."""
        self._images += len(answers)
        self._last = time.time_ns() // 1_000_000
        _add(self._sums.success, time.monotonic() - started)
        for answer in answers:
            _add(self._sums.compute_input, answer.timings.decode)
            _add(self._sums.queue, answer.timings.queue)
            _add(self._sums.compute_infer, answer.timings.infer)

    def failed(self, started: float) -> None:
        _add(self._sums.fail, time.monotonic() - started)

    def message(self, name: str, version: str, executions: int) -> pb.ModelStatistics:
        """`executions`: runs of the network, those for the other doors included, since they share batches."""
        return pb.ModelStatistics(
            name=name,
            version=version,
            last_inference=self._last,
            inference_count=self._images,
            execution_count=executions,
            inference_stats=self._sums,
        )


def _add(total: pb.StatisticDuration, seconds: float) -> None:
    total.count += 1
    total.ns += round(seconds * 1e9)
