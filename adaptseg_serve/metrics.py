"""Prometheus metrics of the service. Base unit seconds; every label has few values.

Create one `Metrics` in the process that serves, never at module level: BentoML's parent process imports our
modules too, and prometheus_client must not be imported before BentoML has named its metrics directory.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from adaptseg_serve._version import __version__
from adaptseg_serve.record import current

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

Stage = Literal["decode", "queue", "infer", "encode"]
STAGES: tuple[Stage, ...] = ("decode", "queue", "infer", "encode")

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What the doors, the segmenter and the batcher report."""

    def __init__(self, registry: "CollectorRegistry | None" = None, build: Mapping[str, str] | None = None) -> None:
        """`registry` None makes a private one; the service hands in prometheus_client's own, which /metrics shows."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = registry or CollectorRegistry()
        self._requests = Counter(
            "adaptseg_inference_requests",
            "Requests answered, by door, outcome (ok or error) and reason",
            ["protocol", "outcome", "reason"],
            registry=registry,
        )
        self._stages = {
            stage: Histogram(
                f"adaptseg_{stage}_duration_seconds",
                f"Seconds a request spent in {stage}",
                buckets=SECONDS,
                registry=registry,
            )
            for stage in STAGES
        }
        self._batch = Histogram(
            "adaptseg_batch_size", "Images in one run of the network", buckets=BATCHES, registry=registry
        )
        self._depth = Gauge(
            "adaptseg_queue_depth", "Images that wait for the device", multiprocess_mode="livesum", registry=registry
        )
        self._dropped = Counter(
            "adaptseg_frames_dropped",
            "Images that got no run, by reason",
            ["reason"],
            registry=registry,
        )
        self._entropy = self._now("adaptseg_drift_mean_entropy", "Mean entropy of the class scores, 0 to 1")
        self._share = self._now("adaptseg_drift_class_share", "Mean share of the pixels, 0 to 1", ["class"])
        self._distance = self._now(
            "adaptseg_drift_distance",
            "Jensen-Shannon distance of the class shares from the bundle's validation images, 0 to 1; NaN without any",
        )
        self._entropy.set(math.nan)
        self._distance.set(math.nan)
        info = {"version": __version__, **(build or {})}
        built = Gauge(
            "adaptseg_build_info",
            "Always 1; its labels say what is running",
            list(info),
            multiprocess_mode="livemax",
            registry=registry,
        )
        built.labels(**info).set(1)

    def request(self, protocol: Literal["http", "grpc"], outcome: Literal["ok", "error"], reason: str = "") -> None:
        """Count one answer; `reason` is the `name` of a RequestError, or "internal"."""
        self._requests.labels(protocol, outcome, reason).inc()
        if (record := current()) is not None:
            record.reason = reason

    def stage(self, stage: Stage, seconds: float, ago: float = 0.0) -> None:
        """An image's stage that took `seconds` and ended `ago` seconds before now; also in the request's record."""
        self._stages[stage].observe(seconds)
        if (record := current()) is not None:
            record.stage(stage, seconds, ago)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Report the block as `stage`, unless it raises."""
        started = time.monotonic()
        yield
        self.stage(stage, time.monotonic() - started)

    def batch(self, size: int) -> None:
        self._batch.observe(size)

    def depth(self, items: int) -> None:
        self._depth.set(items)

    def dropped(self, reason: Literal["deadline", "cancelled", "busy", "superseded", "expired"]) -> None:
        """Count one image that never ran; "superseded" and "expired" are a frame stream's."""
        self._dropped.labels(reason).inc()

    def drift(self, shares: Mapping[str, float], entropy: float, distance: float | None) -> None:
        """Means over the last images, by class; `distance` None: there is nothing to compare with."""
        for name, share in shares.items():
            self._share.labels(name).set(share)
        self._entropy.set(entropy)
        self._distance.set(math.nan if distance is None else distance)

    def _now(self, name: str, meaning: str, labels: Sequence[str] = ()) -> "Gauge":
        """A gauge over a window of images; where several workers have one, the latest counts."""
        from prometheus_client import Gauge

        return Gauge(name, meaning, labels, multiprocess_mode="livemostrecent", registry=self.registry)

    def exposition(self) -> bytes:
        """The text that Prometheus reads: of all workers where they share a directory, else of this process."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        workers = CollectorRegistry()
        MultiProcessCollector(workers)  # type: ignore[no-untyped-call]
        return generate_latest(workers)
