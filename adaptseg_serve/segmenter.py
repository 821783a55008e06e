"""The core that every door calls: checks, decodes, resizes, batches, predicts.

segmenter = Segmenter(open_bundle(path), read_settings())
await segmenter.start()
segmentation = await segmenter.segment_encoded(jpeg_bytes)
await segmenter.close()
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.drift import DriftWatch
from adaptseg_serve.errors import BadParameter, Busy, DeadlineExceeded
from adaptseg_serve.images import check_pixels, decode_image
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.predictor import Predictor, Scored, load_predictor, warm_up
from adaptseg_serve.record import current
from adaptseg_serve.settings import Settings
from adaptseg_serve.waiting import Answer

Image = NDArray[np.uint8]
WantedSize = Literal["input", "model"]
"""Size of a label map: that of the client's image, or that of the network's input."""

T = TypeVar("T")


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds; `decode` includes resizing."""

    decode: float
    queue: float
    infer: float


@dataclass(frozen=True)
class Segmentation:
    """The answer to one image."""

    label_map: LabelMap
    timings: Timings
    image: Image | None = None
    """(H, W, 3) uint8 RGB, upright: the decoded image, where `keep_image` asked for it."""
    scored: Scored | None = None
    """Where `scored` asked for it: what confidence and entropy are made from."""

    def shares(self) -> NDArray[np.float64]:
        """(256,) share of each train id in the label map's pixels; they sum to 1."""
        counts = np.bincount(self.label_map.ravel(), minlength=256)
        return counts / self.label_map.size


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
        self.settings = settings or Settings()
        self.metrics = metrics or Metrics()
        self.draining = False
        self.on_drain: list[Callable[[], object]] = []
        """Called once, in the event loop's thread, when draining begins: a door turns its health off here."""
        self._predictor = predictor
        self._batcher: Batcher | None = None
        self._codec = ThreadPoolExecutor(self.settings.codec_threads, thread_name_prefix="codec")
        self._decoding = 0

    @property
    def ready(self) -> bool:
        """Loaded, warm, and not shutting down."""
        return self._batcher is not None and not self.draining

    @property
    def runtime(self) -> str:
        """Name and device of what runs the graph: "onnxruntime-cpu"; "loading" before `start` is done."""
        return self._predictor.runtime if self._predictor else "loading"

    async def start(self) -> None:
        """Load the graph and run it once, so that the first request finds it warm."""
        await asyncio.to_thread(self._load)
        predictor, settings = self._predictor, self.settings
        assert predictor is not None
        self._batcher = Batcher(
            predictor.predict,
            run_scored=predictor.predict_scored,
            max_batch=settings.max_batch,
            max_items=settings.depth,
            max_bytes=settings.queue_bytes,
            max_delay=settings.max_delay,
            metrics=self.metrics,
        )
        self.metrics.ready(settings.depth)

    def drain(self) -> None:
        """Refuse new work from now on; what is here goes on. Doors hear of it through `on_drain`."""
        if not self.draining:
            self.draining = True
            self.metrics.draining()
            for listener in self.on_drain:
                listener()

    async def finish(self, grace: float | None = None) -> None:
        """Drain, and wait for what is queued and running; what still waits after `grace` seconds is given up."""
        self.drain()
        if self._batcher is not None:
            await self._batcher.close(self.settings.drain_grace if grace is None else grace)

    async def close(self, grace: float | None = None) -> None:
        """Finish, then let go of the threads."""
        await self.finish(grace)
        self._codec.shutdown(wait=False)

    async def segment(
        self,
        image: Image,
        *,
        size: WantedSize = "input",
        deadline: float | None = None,
        keep_image: bool = False,
        scored: bool = False,
    ) -> Segmentation:
        """Label map of `image`, (H, W, 3) uint8 RGB, 0..255.

        size: "input" gives the label map the image's size, "model" that of the network's input.
        deadline: time.monotonic() seconds; ADAPTSEG_TIMEOUT from now by default.
        keep_image, scored: the answer has the image, or the logits, too.
        Raises TooLarge, BadParameter, Busy, DeadlineExceeded.
        """
        _check_array(image)
        check_pixels(image.shape[:2], self.settings.max_pixels)
        return await self._segment(lambda: image, size, deadline, keep_image, scored)

    async def segment_encoded(
        self,
        data: bytes,
        *,
        size: WantedSize = "input",
        deadline: float | None = None,
        keep_image: bool = False,
        scored: bool = False,
    ) -> Segmentation:
        """Label map of a JPEG or PNG file's bytes. Raises also BadImage and UnsupportedType; see `segment`."""
        max_pixels = self.settings.max_pixels
        return await self._segment(lambda: decode_image(data, max_pixels), size, deadline, keep_image, scored)

    async def codec(self, work: Callable[[], T]) -> T:
        """Run `work` (decoding, encoding, rendering) in the bounded pool."""
        return await asyncio.get_running_loop().run_in_executor(self._codec, work)

    async def _segment(
        self, read: Callable[[], Image], size: WantedSize, deadline: float | None, keep_image: bool, scored: bool
    ) -> Segmentation:
        batcher = self._admit()
        deadline = time.monotonic() + self.settings.timeout if deadline is None else deadline
        started = time.monotonic()
        async with self._decoding_slot(batcher):
            image, model_image = await self._decode(read, deadline)
        decoded = time.monotonic() - started
        self.metrics.stage("decode", decoded)
        if (record := current()) is not None:
            record.image(image.shape[:2])
        height, width = image.shape[:2] if size == "input" else self.bundle.preprocess.size
        kept = image if keep_image else None
        del image
        answer = await batcher.submit(model_image, (height, width), deadline, scored)
        return self._finish(answer, decoded, kept)

    def _admit(self) -> Batcher:
        if self._batcher is None or self.draining:
            state = "shutting down" if self.draining else "still loading"
            raise Busy(f"The service is {state}. Send the request again later, or to another replica.", 2.0)
        return self._batcher

    @asynccontextmanager
    async def _decoding_slot(self, batcher: Batcher) -> AsyncIterator[None]:
        """Images that are being decoded count as if they waited already: what is decoded finds room."""
        batcher.check_room(self._decoding + 1)
        self._decoding += 1
        try:
            yield
        finally:
            self._decoding -= 1

    async def _decode(self, read: Callable[[], Image], deadline: float) -> tuple[Image, Image]:
        """The image, and the image at the network's input size."""

        def work() -> tuple[Image, Image]:
            image = read()
            return image, self.bundle.preprocess.resize_image(image)

        limit = asyncio.timeout(deadline - time.monotonic())
        try:
            async with limit:
                return await self.codec(work)
        except TimeoutError:
            raise DeadlineExceeded("The request's deadline passed before it was decoded. Allow it more time.") from None

    def _finish(self, answer: Answer, decoded: float, image: Image | None) -> Segmentation:
        self.metrics.stage("queue", answer.queue, ago=answer.infer)
        self.metrics.stage("infer", answer.infer)
        self.metrics.image(decoded + answer.queue + answer.infer)
        timings = Timings(decoded, answer.queue, answer.infer)
        return Segmentation(answer.label_map, timings, image, answer.scored)

    def _watched(self, predictor: Predictor) -> Predictor:
        every, window = self.settings.drift_every, self.settings.drift_window
        return DriftWatch(predictor, self.bundle, self.metrics, window=window, every=every) if every else predictor

    def _load(self) -> None:
        predictor = self._predictor or load_predictor(self.bundle, self.settings.threads, self.settings.runtime)
        warm_up(predictor, self.bundle.preprocess.size)
        self._predictor = self._predictor or self._watched(predictor)  # Not before: warming up is no road.


def _check_array(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise BadParameter(f"An image must be (height, width, 3) uint8 RGB; this one is {image.shape} {image.dtype}.")
