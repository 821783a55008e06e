"""Calls of the Open Inference Protocol over gRPC, and what their answers hold."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.grpc.stubs import inference_pb2_grpc
from helpers.doors import Door, grpc_door

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)


def request(data: bytes, shape: tuple[int, ...], datatype: str = "UINT8", **fields: Any) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype=datatype, shape=shape)
    return pb.ModelInferRequest(**{"model_name": "tiny", "inputs": [tensor], "raw_input_contents": [data], **fields})


def frames_request(frames: NDArray[np.uint8], **fields: Any) -> pb.ModelInferRequest:
    return request(frames.tobytes(), frames.shape, **fields)


def label_maps(response: pb.ModelInferResponse) -> NDArray[np.uint8]:
    return np.frombuffer(response.raw_output_contents[0], np.uint8).reshape(response.outputs[0].shape)


def png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def element(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def in_door(bundle: Path, work: Callable[[Any, Door], Awaitable[Any]], *args: Any, **settings: Any) -> Any:
    async def main() -> Any:
        async with grpc_door(bundle, *args, **settings) as door:
            return await work(inference_pb2_grpc.GRPCInferenceServiceStub(door.channel), door)

    return asyncio.run(main())
