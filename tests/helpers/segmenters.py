"""A segmenter in the test's own event loop, and a predictor of a known pace."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Predictor, Scored, Size
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))


class Slow:
    runtime = "slow"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.runs = -1  # The warm-up is not counted.

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        self.runs += 1
        time.sleep(self.seconds if self.runs else 0)
        return [np.zeros(size, np.uint8) for size in sizes]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        return [Scored(label_map, np.zeros((1, 2, 2), np.float32)) for label_map in self.predict(images, sizes)]


def with_segmenter(
    bundle: Path,
    body: Callable[[Segmenter], Awaitable[None]],
    predictor: Predictor | None = None,
    settings: Settings | None = None,
) -> None:
    async def main() -> None:
        segmenter = Segmenter(open_bundle(bundle), settings, predictor=predictor)
        await segmenter.start()
        try:
            await body(segmenter)
        finally:
            await segmenter.close(5)

    asyncio.run(main())


def png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()
