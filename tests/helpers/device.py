"""A device that tests of the batcher can watch, hold and break, and a batcher before it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Size

POISON = 255


class Device:
    """Stands in for a predictor: a label map is filled with its image's first value, and POISON fails its batch."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.running = 0
        self.gate = threading.Event()
        self.gate.set()

    def run(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        self.running += 1
        assert self.running == 1, "two batches at once on one device"
        self.gate.wait(5)
        values = [int(image[0, 0, 0]) for image in images]
        self.batches.append(values)
        time.sleep(self.seconds)
        self.running -= 1
        if POISON in values:
            raise ValueError("a bad item")
        return [np.full(size, value, np.uint8) for size, value in zip(sizes, values, strict=True)]


def image(value: int, height: int = 2) -> NDArray[np.uint8]:
    return np.full((height, 2, 3), value, np.uint8)


def batched(
    device: Device,
    body: Callable[[Batcher], Awaitable[None]],
    max_batch: int = 4,
    max_items: int = 100,
    max_bytes: int = 1 << 30,
    max_delay: float = 0.0,
) -> None:
    """Run `body` with a batcher on `device`, and close it in good order."""

    async def main() -> None:
        batcher = Batcher(
            device.run,
            max_batch=max_batch,
            max_items=max_items,
            max_bytes=max_bytes,
            max_delay=max_delay,
        )
        try:
            await body(batcher)
        finally:
            device.gate.set()
            await batcher.close(5)
        assert batcher.depth == 0

    asyncio.run(main())
