"""Health of the gRPC door, and how work at hand ends when it drains or stops."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers.doors import BreakablePredictor, Door, PacedPredictor
from helpers.infer_calls import FRAMES, frames_request
from helpers.segmentation_calls import RAW, frame, in_door

from adaptseg_serve.batcher import BROKEN_AFTER
from adaptseg_serve.grpc.stubs import inference_pb2_grpc
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def read_all(answers: Any) -> list[pb.StreamSegmentResponse]:
    return [answer async for answer in answers]


def test_draining_is_seen_at_once_and_ends_streams(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        health = health_pb2_grpc.HealthStub(door.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="adaptseg.v1.SegmentationService"))
        assert (await watch.read()).status == SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING

        async def camera() -> AsyncIterator[pb.StreamSegmentRequest]:
            for number in range(1000):
                await asyncio.sleep(0.01)
                yield frame(number)

        answers = aiter(stub.StreamSegment(camera()))
        await anext(answers)
        started = time.monotonic()
        door.segmenter.drain()
        assert (await watch.read()).status == NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
        assert await stub.Segment(pb.SegmentRequest(image=RAW)).code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_all(answers)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - started < 5, "the camera would go on for ten"

    in_door(tiny_bundle, work, PacedPredictor())


def test_stop_lets_work_at_hand_finish(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        call = stub.Segment(pb.SegmentRequest(image=RAW))
        await asyncio.sleep(0.2)
        stop = asyncio.create_task(door.server.stop(5))
        assert await call.code() == grpc.StatusCode.OK
        await stop

    in_door(tiny_bundle, work, PacedPredictor(0.6))


def test_health_follows_a_device_that_breaks_and_comes_back(tiny_bundle: Path) -> None:
    predictor = BreakablePredictor()

    async def work(stub: Any, door: Door) -> None:
        health = health_pb2_grpc.HealthStub(door.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        predictor.whole = False
        for _ in range(BROKEN_AFTER):
            assert await stub.Segment(pb.SegmentRequest(image=RAW)).code() == grpc.StatusCode.INTERNAL
        assert (await watch.read()).status == NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
        predictor.whole = True
        assert await stub.Segment(pb.SegmentRequest(image=RAW)).code() == grpc.StatusCode.OK
        assert (await watch.read()).status == SERVING

    in_door(tiny_bundle, work, predictor)


def test_a_stream_that_pauses_does_not_hold_up_the_end(tiny_bundle: Path) -> None:
    """It is told at once, and what it has sent is answered."""

    async def paused(sent: Any) -> AsyncIterator[Any]:
        yield sent
        await asyncio.sleep(60)

    async def work(stub: Any, door: Door) -> None:
        camera = stub.StreamSegment(paused(frame(1)))
        infers = inference_pb2_grpc.GRPCInferenceServiceStub(door.channel).ModelStreamInfer(
            paused(frames_request(FRAMES[:1]))
        )
        assert (await camera.read()).result.frame_id == 1
        assert (await infers.read()).infer_response.outputs[0].name == "label_map"
        door.segmenter.drain()
        for call in (camera, infers):
            assert await asyncio.wait_for(call.code(), 5) == grpc.StatusCode.UNAVAILABLE

    in_door(tiny_bundle, work)
