"""The core that every door calls: checks, decodes, resizes, batches, predicts.

segmenter = Segmenter(open_bundle(path), read_settings())
await segmenter.start()
segmentation = await segmenter.segment_encoded(jpeg_bytes)
await segmenter.close()
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from adaptseg_serve import uncertainty
from adaptseg_serve.batcher import Batcher
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.codec import Codec
from adaptseg_serve.device_thread import DeviceThread
from adaptseg_serve.drift import DriftWatch
from adaptseg_serve.errors import BadParameter, BundleError, Busy, DeadlineExceeded
from adaptseg_serve.images import check_pixels, decode_image
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.predictor import Predictor, Size, is_on_gpu, load_predictor, warm_up_to_serve
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.record import current
from adaptseg_serve.segmentation import Image, Segmentation, Timings, WantedSize
from adaptseg_serve.served import Served
from adaptseg_serve.settings import Settings
from adaptseg_serve.statistics import Statistics
from adaptseg_serve.waiting import Answer

Source = Image | Callable[[], Image]
"""An image, or what reads it: that is work for another thread."""


class _Wish(NamedTuple):
    """What `segment` is asked for beside the image; see there."""

    size: WantedSize
    deadline: float
    keep_image: bool
    scored: bool


class Segmenter:
    """One bundle on one device. Every method is called in the event loop's thread."""

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings | None = None,
        *,
        predictor: Predictor | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`predictor` None loads the one that fits this machine when `start` is called."""
        self.bundle = bundle
        """What new requests are answered by; `swap` changes it."""
        self.settings = settings or Settings()
        self.metrics = metrics or Metrics()
        self.statistics = Statistics()
        self.drained = asyncio.Event()
        """Set when draining begins."""
        self.on_drain: list[Callable[[], object]] = []
        """Called once, in the event loop's thread, when draining begins: a door turns its health off here."""
        self._predictor = predictor
        self._served: Served | None = None
        self._retiring: set[Served] = set()
        """What was swapped out and still answers."""
        self.codec = Codec(self.settings.codec_threads)
        """Runs decoding, encoding and rendering."""

    @property
    def draining(self) -> bool:
        """Is new work refused, because the service is to end?"""
        return self.drained.is_set()

    @property
    def live(self) -> bool:
        """False once the device only fails: a GPU whose errors stick wants a new process."""
        return self._served is None or not self._served.batcher.broken

    @property
    def ready(self) -> bool:
        """Loaded, warm, not broken, and not shutting down."""
        return self._served is not None and self.live and not self.draining

    @property
    def runtime(self) -> str:
        """Name and device of what runs the graph: "onnxruntime-cpu"; "loading" before `start` is done."""
        return self._served.predictor.runtime if self._served else "loading"

    async def start(self) -> None:
        """Load the graph and run it, so that the first request finds it warm."""
        predictor, device = await self._load(self.bundle)
        self._served = self._serve(self.bundle, predictor, device)
        self.metrics.serves(self.bundle.name, self.bundle.version)
        self.metrics.ready(self.settings.depth)

    async def swap(self, bundle: Bundle) -> bool:
        """Answer new requests with `bundle`; those under way are answered by the bundle that admitted them.

        Loads and warms it up first: whatever is raised, the old bundle goes on. BundleError where its classes are
        others, since clients know what the numbers mean, and where it would leave the GPU. Returns when the old
        bundle's last request is answered; False if nothing changed because draining had begun meanwhile.
        """
        if bundle.labels != self.bundle.labels:
            raise BundleError(
                f"{bundle.path} has the classes of {bundle.labels.name}, the served bundle those of "
                f"{self.bundle.labels.name}. Other classes need a restart, so that clients ask for them anew."
            )
        predictor, device = await self._load(bundle)
        if is_on_gpu(self.runtime) and not is_on_gpu(predictor.runtime):
            device.end()
            raise BundleError(
                f"{bundle.path} could be loaded only as {predictor.runtime}, where {self.runtime} serves: the GPU's "
                "memory holds both bundles for a moment. Make room there, or restart."
            )
        if self.draining:
            device.end()
            return False
        retired, self._served, self.bundle = self._served, self._serve(bundle, predictor, device), bundle
        self.metrics.serves(bundle.name, bundle.version)
        self.metrics.broken(False)
        if retired is not None:
            self._retiring.add(retired)
            await retired.finish()
            self._retiring.discard(retired)
        return True

    def drain(self) -> None:
        """Refuse new work from now on; what is here goes on. Doors hear of it through `on_drain`."""
        if not self.draining:
            self.drained.set()
            self.metrics.draining()
            for listener in self.on_drain:
                listener()

    async def finish(self, grace: float | None = None) -> None:
        """Drain, and wait for what was admitted; what still waits after `grace` seconds is given up."""
        self.drain()
        grace = self.settings.drain_grace if grace is None else grace
        served = self._retiring if self._served is None else {self._served, *self._retiring}
        await asyncio.gather(*(each.finish(grace) for each in served))

    async def close(self, grace: float | None = None) -> None:
        """Finish, then let go of the threads, and count what is not counted yet."""
        await self.finish(grace)
        self.codec.close()
        self.metrics.flush()

    def admitted(self) -> Served:
        """The bundle that answers a request of now: `with` it while it is needed, whatever is swapped meanwhile.

        For a request of several images: handed to `segment` as `by`, all its label maps are one bundle's. Raises Busy.
        """
        if self._served is None or self.draining:
            self.metrics.dropped("busy")
            state = "shutting down" if self.draining else "still loading"
            raise Busy(f"The service is {state}. Send the request again later, or to another replica.", 2.0)
        return self._served

    async def segment(
        self,
        image: Image,
        *,
        size: WantedSize = "input",
        deadline: float | None = None,
        keep_image: bool = False,
        scored: bool = False,
        by: Served | None = None,
    ) -> Segmentation:
        """Label map of `image`, (H, W, 3) uint8 RGB, 0..255.

        size: "input" gives the label map the image's size, "model" that of the network's input.
        deadline: time.monotonic() seconds; ADAPTSEG_TIMEOUT from now by default.
        keep_image, scored: the answer has the image, or the logits, too.
        by: what `admitted` gave; else the bundle that is served now.
        Raises TooLarge, BadParameter, Busy, DeadlineExceeded.
        """
        _check_array(image)
        check_pixels(image.shape[:2], self.settings.max_pixels)
        return await self._segment(image, self._wish(size, deadline, keep_image, scored), by)

    async def segment_encoded(
        self,
        data: bytes,
        *,
        size: WantedSize = "input",
        deadline: float | None = None,
        keep_image: bool = False,
        scored: bool = False,
        by: Served | None = None,
    ) -> Segmentation:
        """Label map of a JPEG or PNG file's bytes. Raises also BadImage and UnsupportedType; see `segment`."""
        max_pixels = self.settings.max_pixels
        wish = self._wish(size, deadline, keep_image, scored)
        return await self._segment(lambda: decode_image(data, max_pixels), wish, by)

    def _wish(self, size: WantedSize, deadline: float | None, keep_image: bool, scored: bool) -> _Wish:
        deadline = time.monotonic() + self.settings.timeout if deadline is None else deadline
        return _Wish(size, deadline, keep_image, scored)

    async def _segment(self, source: Source, wish: _Wish, by: Served | None) -> Segmentation:
        with by or self.admitted() as served:
            spec = served.bundle.preprocess
            if isinstance(source, np.ndarray) and source.shape[:2] == spec.size:
                served.check_room()
                image = model_image = (
                    source  # A thread would have nothing to do, and the way there and back is not free.
                )
                decoded = 0.0
            else:
                started = time.monotonic()
                with served.decoding_slot():
                    image, model_image = await self._decode(source, spec, wish.deadline)
                decoded = time.monotonic() - started
            self.metrics.stage("decode", decoded)
            if (record := current()) is not None:
                record.image(image.shape[:2])
            size: Size = image.shape[:2] if wish.size == "input" else spec.size
            kept = image if wish.keep_image else None
            del image
            beside = 0 if kept is None or kept is model_image else kept.nbytes
            answer = await served.batcher.submit(model_image, size, wish.deadline, wish.scored, beside)
            return self._finish(answer, decoded, kept, served.bundle)

    async def _decode(self, source: Source, spec: PreprocessSpec, deadline: float) -> tuple[Image, Image]:
        """The image, and the image at the network's input size."""

        def work() -> tuple[Image, Image]:
            image = source if isinstance(source, np.ndarray) else source()
            return image, spec.resize_image(image)

        try:
            return await self.codec(work, deadline, "decoded")
        except (DeadlineExceeded, asyncio.CancelledError):
            late = deadline <= time.monotonic()  # gRPC cancels a call that is.
            self.metrics.dropped("deadline" if late else "cancelled")
            raise

    def _finish(self, answer: Answer, decoded: float, image: Image | None, bundle: Bundle) -> Segmentation:
        self.metrics.image(decoded, answer.queue, answer.infer)
        timings = Timings(decoded, answer.queue, answer.infer)
        return Segmentation(answer.label_map, timings, bundle, image, answer.scored)

    async def _load(self, bundle: Bundle) -> tuple[Predictor, DeviceThread]:
        """The bundle's predictor, warm, and the thread that it is warm in. It takes seconds."""
        device = DeviceThread(asyncio.get_running_loop())
        try:
            return await device.wait_for(partial(self._load_here, bundle)), device
        except BaseException:
            device.end()
            raise

    def _load_here(self, bundle: Bundle) -> Predictor:
        """In the device's thread."""
        settings = self.settings
        predictor = self._predictor or load_predictor(bundle, settings.threads, settings.runtime, settings.engine)
        warm_up_to_serve(predictor, bundle.preprocess.size, settings.max_batch)
        uncertainty.prepare()  # Else the first who asks for confidence waits while it is compiled: about a second.
        return predictor

    def _serve(self, bundle: Bundle, predictor: Predictor, device: DeviceThread) -> Served:
        settings = self.settings
        if settings.drift_every and self._predictor is None:  # Only now: warming up is no road.
            every, window = settings.drift_every, settings.drift_window
            predictor = DriftWatch(predictor, bundle, self.metrics, window=window, every=every)
        batcher = Batcher(
            predictor.predict,
            run_scored=predictor.predict_scored,
            max_batch=settings.max_batch,
            max_items=settings.depth,
            max_bytes=settings.queue_bytes,
            max_delay=settings.max_delay,
            metrics=self.metrics,
            device=device,
        )
        return Served(bundle, predictor, batcher)


def _check_array(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise BadParameter(f"An image must be (height, width, 3) uint8 RGB; this one is {image.shape} {image.dtype}.")
