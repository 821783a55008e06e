"""ADAPTSEG_MAX_STREAMS: one stream too many is told when to come back; one that ends makes room."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from helpers.doors import Door, PacedPredictor, grpc_door

from adaptseg_serve.grpc.errors import DETAILS_KEY, RETRY_INFO_URL
from adaptseg_serve.grpc.stubs import inference_pb2 as oip
from adaptseg_serve.grpc.stubs import inference_pb2_grpc
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.grpc.stubs.adaptseg.v1.error_details_pb2 import RetryInfo, Status

PIXELS = np.zeros((48, 64, 3), np.uint8)
FRAME = pb.StreamSegmentRequest(image=pb.Image(raw=pb.RawImage(height=48, width=64, rgb=PIXELS.tobytes())))
TENSOR = oip.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=(1, *PIXELS.shape))
INFER = oip.ModelInferRequest(model_name="tiny", inputs=[TENSOR], raw_input_contents=[PIXELS.tobytes()])


async def own(channel: Any) -> Any:
    """An open StreamSegment call that has had one answer."""
    return await answered(segmentation_pb2_grpc.SegmentationServiceStub(channel).StreamSegment(), FRAME)


async def open_inference(channel: Any) -> Any:
    """The same of ModelStreamInfer."""
    return await answered(inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(), INFER)


async def answered(call: Any, request: Any) -> Any:
    await call.write(request)
    assert await asyncio.wait_for(call.read(), 30) is not grpc.aio.EOF
    return call


async def refused(opening: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await opening
    error = caught.value
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "ADAPTSEG_MAX_STREAMS" in str(error.details())
    status = Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    assert status.details[0].type_url == RETRY_INFO_URL
    assert RetryInfo.FromString(status.details[0].value).retry_delay.seconds >= 1


async def room(channel: Any) -> Any:
    """The first stream that is let in again: the server hears of a cancelled one a moment later."""
    while True:
        try:
            return await own(channel)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(0.02)


async def limits(door: Door) -> str:
    """The metrics after it."""
    calls = [await own(door.channel), await open_inference(door.channel)]
    # The limit is the server's, not a connection's.
    local = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(door.target, options=local) as other:
        await refused(own(other))
        await refused(open_inference(door.channel))
        unary = inference_pb2_grpc.GRPCInferenceServiceStub(other)
        assert (await unary.ModelInfer(INFER)).model_name == "tiny"
        calls[1].cancel()
        third = await asyncio.wait_for(room(other), 30)
        await refused(open_inference(door.channel))
        await calls[0].done_writing()
        assert await calls[0].read() is grpc.aio.EOF
        fourth = await asyncio.wait_for(room(other), 30)
        for call in (third, fourth):
            call.cancel()
    return door.segmenter.metrics.exposition().decode()


def test_one_stream_too_many_is_told_when_to_come_back(tiny_bundle: Path) -> None:
    async def work() -> str:
        async with grpc_door(tiny_bundle, PacedPredictor(), max_streams=2) as door:
            return await limits(door)

    assert 'adaptseg_inference_requests_total{outcome="error",protocol="grpc",reason="busy"}' in asyncio.run(work())
