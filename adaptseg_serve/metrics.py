"""Prometheus metrics of the service. Base unit seconds; every label has few values.

What every image counts is counted `Later`, together, when answers have left; what is rare, at once.

Create one `Metrics` in the process that serves, never at module level: BentoML's parent process imports our
modules too, and prometheus_client must not be imported before BentoML has named its metrics directory.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from adaptseg_serve._version import __version__
from adaptseg_serve.exposition import exposition
from adaptseg_serve.later import Later
from adaptseg_serve.record import current

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge, Histogram

Stage = Literal["decode", "queue", "infer", "encode"]
STAGES: tuple[Stage, ...] = ("decode", "queue", "infer", "encode")
Mode = Literal["livesum", "livemin", "livemax", "livemostrecent"]
SwapOutcome = Literal["done", "refused"]
DropReason = Literal["deadline", "cancelled", "busy", "superseded", "expired"]

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What the doors, the segmenter and the batcher report."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        """`registry` None makes a private one; the service hands in prometheus_client's own, which /metrics shows."""
        from prometheus_client import CollectorRegistry, Counter

        self.registry = registry = registry or CollectorRegistry()
        self.later = Later()
        """What is to be done when answers have left; a door may add to it."""
        self._draining = False
        self._waiting: int | None = None
        """The queue's depth that is not shown yet."""
        self.executions = 0
        """Runs of the network so far."""
        self.images = 0
        """Images that have their label map so far."""
        self._requests = Counter(
            "adaptseg_inference_requests",
            "Requests answered, by door, outcome (ok or error) and reason; but those that were refused unread, for "
            "their token or their length: the log has them",
            ["protocol", "outcome", "reason"],
            registry=registry,
        )
        self._dropped = Counter(
            "adaptseg_frames_dropped", "Images that got no run, by reason", ["reason"], registry=registry
        )
        # A series that begins with its first event hides that event from rate().
        for protocol in ("http", "grpc"):
            self._requests.labels(protocol, "ok", "")
        for reason in get_args(DropReason):
            self._dropped.labels(reason)
        self._add_durations()
        self._add_queue()
        self._add_drift()
        self._add_bundle()

    def _add_bundle(self) -> None:
        from prometheus_client import Counter

        meaning = "1 for what is running, by its labels; 0 for a bundle that was swapped"
        labels = ["version", "bundle", "bundle_version"]
        self._serving: Gauge | None = None
        self._build = self._gauge("adaptseg_build_info", meaning, "livemax", labels)
        meaning = "Bundles put in place of the served one, by outcome: done or refused"
        self._swaps = Counter("adaptseg_bundle_swaps", meaning, ["outcome"], registry=self.registry)
        for outcome in get_args(SwapOutcome):
            self._swaps.labels(outcome)

    def _add_durations(self) -> None:
        self._stages = {
            stage: self._histogram(f"adaptseg_{stage}_duration_seconds", f"Seconds a request spent in {stage}", SECONDS)
            for stage in STAGES
        }
        meaning = "Seconds from an image's arrival to its label map: decode, queue and infer together"
        self._image = self._histogram("adaptseg_image_duration_seconds", meaning, SECONDS)
        self._batch = self._histogram("adaptseg_batch_size", "Images in one run of the network", BATCHES)

    def _add_queue(self) -> None:
        self._depth = self._gauge("adaptseg_queue_depth", "Images that wait for the device", "livesum")
        self._capacity = self._gauge("adaptseg_queue_capacity", "Images that may wait", "livesum")
        meaning = "1 where requests are answered, 0 while loading or draining and on a broken device"
        self._ready = self._gauge("adaptseg_ready", meaning, "livemin")

    def _add_drift(self) -> None:
        """Of several workers' windows the latest counts. NaN: nothing to say yet, or nothing to compare with."""
        mode: Mode = "livemostrecent"
        self._share = self._gauge("adaptseg_drift_class_share", "Mean share of the pixels, 0 to 1", mode, ["class"])
        self._entropy = self._gauge("adaptseg_drift_mean_entropy", "Mean entropy of the class scores, 0 to 1", mode)
        self._reference = self._gauge(
            "adaptseg_drift_reference_mean_entropy", "The same on the bundle's validation images", mode
        )
        self._distance = self._gauge(
            "adaptseg_drift_distance",
            "Jensen-Shannon distance of the class shares from the bundle's validation images, 0 to 1",
            mode,
        )
        self.drift_begins(None)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> "Histogram":
        from prometheus_client import Histogram

        return Histogram(name, meaning, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, meaning: str, mode: Mode, labels: Sequence[str] = ()) -> "Gauge":
        """`mode`: how the values of several workers become one."""
        from prometheus_client import Gauge

        return Gauge(name, meaning, labels, multiprocess_mode=mode, registry=self.registry)

    def request(self, protocol: Literal["http", "grpc"], outcome: Literal["ok", "error"], reason: str = "") -> None:
        """Count one answer; `reason` is the `name` of a RequestError, or "internal"."""
        self.later(self._count_request, protocol, outcome, reason)
        if (record := current()) is not None:
            record.reason = reason

    def _count_request(self, *labels: str) -> None:
        self._requests.labels(*labels).inc()

    def stage(self, stage: Stage, seconds: float, ago: float = 0.0) -> None:
        """An image's stage that took `seconds` and ended `ago` seconds before now; also in the request's record."""
        self.later(self._stages[stage].observe, seconds)
        if (record := current()) is not None:
            record.stage(stage, seconds, ago)

    def timed(self, stage: Stage) -> "_Timed":
        """Report the block as `stage`, unless it raises."""
        return _Timed(self, stage)

    def image(self, decode: float, queue: float, infer: float) -> None:
        """One image has its label map: so long was it decoded (which `stage` has counted), did it wait, did it run."""
        self.images += 1
        self.later(self._count_image, decode, queue, infer)
        if (record := current()) is not None:
            record.stage("queue", queue, infer)
            record.stage("infer", infer, 0.0)

    def _count_image(self, decode: float, queue: float, infer: float) -> None:
        self._stages["queue"].observe(queue)
        self._stages["infer"].observe(infer)
        self._image.observe(decode + queue + infer)

    def batch(self, size: int) -> None:
        self.executions += 1
        self.later(self._batch.observe, size)

    def depth(self, items: int) -> None:
        if self._waiting is None:
            self.later(self._show_depth)
        self._waiting = items

    def _show_depth(self) -> None:
        self._depth.set(self._waiting or 0)
        self._waiting = None

    def ready(self, capacity: int) -> None:
        """Requests are answered from now on, and so many images may wait."""
        self._capacity.set(capacity)
        self._ready.set(1)

    def serves(self, bundle: str, version: str) -> None:
        """Requests are answered by the bundle of this name and version from now on."""
        if self._serving is not None:
            self._serving.set(0)
        self._serving = self._build.labels(__version__, bundle, version)
        self._serving.set(1)

    def swap(self, outcome: SwapOutcome) -> None:
        """A bundle was to take the served one's place."""
        self._swaps.labels(outcome).inc()

    def broken(self, broken: bool) -> None:
        """The device only fails from now on, or answers again."""
        self._ready.set(int(not broken and not self._draining))

    def draining(self) -> None:
        self._draining = True
        self._ready.set(0)

    def dropped(self, reason: DropReason) -> None:
        """Count one image that never ran; "superseded" and "expired" are a frame stream's."""
        self._dropped.labels(reason).inc()

    def drift_begins(self, reference: float | None) -> None:
        """No image was looked at yet; `reference`: the bundle's own mean entropy, None where it has none."""
        self._reference.set(math.nan if reference is None else reference)
        self._entropy.set(math.nan)
        self._distance.set(math.nan)

    def drift(self, shares: Mapping[str, float], entropy: float, distance: float | None) -> None:
        """Means over the last images, by class; `distance` None: there is nothing to compare with."""
        for name, share in shares.items():
            self._share.labels(name).set(share)
        self._entropy.set(entropy)
        self._distance.set(math.nan if distance is None else distance)

    def exposition(self) -> bytes:
        """What /metrics answers."""
        self.flush()
        return exposition(self.registry)

    def flush(self) -> None:
        """Count what waits to be counted: also before the process ends."""
        self.later.flush()


class _Timed:
    def __init__(self, metrics: Metrics, stage: Stage) -> None:
        self._metrics, self._stage = metrics, stage

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._metrics.stage(self._stage, time.monotonic() - self._started)
