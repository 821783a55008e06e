"""The gRPC door in the test's own event loop, before the real Segmenter and a predictor of a known pace."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.grpc.server import GrpcServer
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Predictor, Scored, Size
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings
from helpers.serving import free_port

MESSAGE_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class PacedPredictor:
    """Takes `seconds` a batch; each label map holds its image's first value, so that mixed-up answers show."""

    seconds: float = 0.0
    runtime: str = "paced"
    batches: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        self.batches.append(len(images))
        self.gate.wait(10)
        time.sleep(self.seconds)
        return [np.full(size, image[0, 0, 0], np.uint8) for image, size in zip(images, sizes, strict=True)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        """Logits of one class, sure of itself."""
        logits = np.zeros((1, 2, 2), np.float32)
        return [Scored(label_map, logits) for label_map in self.predict(images, sizes)]


class BreakablePredictor(PacedPredictor):
    """A device whose errors stick for as long as it is not `whole`."""

    whole = True

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        if not self.whole:
            raise RuntimeError("an illegal memory access was encountered")
        return super().predict(images, sizes)


@dataclass(frozen=True)
class Door:
    """An open gRPC door and a channel to it."""

    segmenter: Segmenter
    server: GrpcServer
    channel: grpc.aio.Channel
    target: str


@asynccontextmanager
async def grpc_door(bundle: Path, predictor: Predictor | None = None, **settings: Any) -> AsyncIterator[Door]:
    """Serve until the block ends; `settings` are fields of Settings."""
    chosen = Settings(**{"grpc_port": free_port(), **settings})
    segmenter = Segmenter(open_bundle(bundle), chosen, predictor=predictor)
    await segmenter.start()
    if isinstance(predictor, PacedPredictor):
        predictor.batches.clear()
    server = GrpcServer(segmenter, chosen)
    await server.start()
    target = f"{chosen.grpc_host}:{chosen.grpc_port}"
    try:
        async with grpc.aio.insecure_channel(target, options=MESSAGE_LIMIT) as channel:
            yield Door(segmenter, server, channel, target)
    finally:
        await server.stop(0)
        await segmenter.close(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has no event to wait for."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
