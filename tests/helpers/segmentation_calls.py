"""Calls of the project's own gRPC service, and what their answers hold."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from helpers.doors import Door, grpc_door

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
RAW = pb.Image(raw=pb.RawImage(height=48, width=64, rgb=FRAME.tobytes()))
PNG = pb.Image(encoded=cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes())


def in_door(bundle: Path, work: Callable[[Any, Door], Awaitable[Any]], *args: Any, **settings: Any) -> Any:
    async def main() -> Any:
        async with grpc_door(bundle, *args, **settings) as door:
            return await work(segmentation_pb2_grpc.SegmentationServiceStub(door.channel), door)

    return asyncio.run(main())


def frame(number: int, **fields: Any) -> pb.StreamSegmentRequest:
    """A frame whose every pixel is its number, as PacedPredictor gives it back."""
    raw = pb.RawImage(height=48, width=64, rgb=bytes([number % 256]) * FRAME.nbytes)
    return pb.StreamSegmentRequest(frame_id=number, **{"image": pb.Image(raw=raw), **fields})


def ids(answers: list[pb.StreamSegmentResponse]) -> list[int]:
    return [a.result.frame_id if a.HasField("result") else a.dropped.frame_id for a in answers]


def results(answers: list[pb.StreamSegmentResponse]) -> list[int]:
    return [a.result.frame_id for a in answers if a.HasField("result")]


def reasons(answers: list[pb.StreamSegmentResponse]) -> Counter[str]:
    return Counter(pb.DroppedFrame.Reason.Name(a.dropped.reason) for a in answers if a.HasField("dropped"))
