"""The project's own gRPC service: one image, a stream of frames, the classes; health, reflection, draining."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from helpers.doors import Door, PacedPredictor, grpc_door

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.grpc.server import GrpcServer
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.predictor import load_predictor

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
RAW = pb.Image(raw=pb.RawImage(height=48, width=64, rgb=FRAME.tobytes()))
PNG = pb.Image(encoded=cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes())
ALL = pb.StreamSegmentRequest.ALL
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def in_door(bundle: Path, work: Callable[[Any, Door], Awaitable[Any]], *args: Any, **settings: Any) -> Any:
    async def main() -> Any:
        async with grpc_door(bundle, *args, **settings) as door:
            return await work(segmentation_pb2_grpc.SegmentationServiceStub(door.channel), door)

    return asyncio.run(main())


def frame(number: int, **fields: Any) -> pb.StreamSegmentRequest:
    """A frame whose every pixel is its number, as PacedPredictor gives it back."""
    raw = pb.RawImage(height=48, width=64, rgb=bytes([number % 256]) * FRAME.nbytes)
    return pb.StreamSegmentRequest(frame_id=number, **{"image": pb.Image(raw=raw), **fields})


async def read_all(answers: Any) -> list[pb.StreamSegmentResponse]:
    return [answer async for answer in answers]


def ids(answers: list[pb.StreamSegmentResponse]) -> list[int]:
    return [a.result.frame_id if a.HasField("result") else a.dropped.frame_id for a in answers]


def results(answers: list[pb.StreamSegmentResponse]) -> list[int]:
    return [a.result.frame_id for a in answers if a.HasField("result")]


def reasons(answers: list[pb.StreamSegmentResponse]) -> Counter[str]:
    return Counter(pb.DroppedFrame.Reason.Name(a.dropped.reason) for a in answers if a.HasField("dropped"))


@pytest.mark.parametrize("image", [RAW, PNG], ids=["raw", "png"])
@pytest.mark.parametrize("size", [pb.INPUT, pb.MODEL])
def test_segment_gives_the_predictors_label_map(tiny_bundle: Path, image: pb.Image, size: int) -> None:
    async def work(stub: Any, door: Door) -> pb.SegmentResponse:
        return await stub.Segment(pb.SegmentRequest(image=image, size=size))

    answer = in_door(tiny_bundle, work)
    expected = load_predictor(open_bundle(tiny_bundle)).predict(FRAME[None], [(48, 64)])[0]
    assert (answer.label_map.height, answer.label_map.width) == (48, 64)
    assert answer.label_map.train_ids == expected.tobytes()
    assert answer.timings.infer > 0


@pytest.mark.parametrize(
    "wrong",
    [
        pb.SegmentRequest(),
        pb.SegmentRequest(image=pb.Image(encoded=b"GIF89a")),
        pb.SegmentRequest(image=pb.Image(raw=pb.RawImage(height=48, width=65, rgb=FRAME.tobytes()))),
        pb.SegmentRequest(image=pb.Image(raw=pb.RawImage())),
        pb.SegmentRequest(image=pb.Image(raw=pb.RawImage(height=2**32 - 1, width=2**32 - 1, rgb=b"x"))),
        pb.SegmentRequest(image=RAW, size=7),
    ],
    ids=["empty", "a GIF", "size", "no pixels", "huge", "unknown size"],
)
def test_a_bad_image_is_an_invalid_argument(tiny_bundle: Path, wrong: pb.SegmentRequest) -> None:
    async def work(stub: Any, door: Door) -> grpc.StatusCode:
        return await stub.Segment(wrong).code()

    assert in_door(tiny_bundle, work) == grpc.StatusCode.INVALID_ARGUMENT


def test_label_info_is_the_bundles(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> pb.GetLabelInfoResponse:
        return await stub.GetLabelInfo(pb.GetLabelInfoRequest())

    info = in_door(tiny_bundle, work)
    assert [c.name for c in info.classes] == list(CITYSCAPES.names)
    assert (info.classes[0].rgb, info.ignore_id, info.model_name) == (0x804080, 255, "tiny")


def test_a_camera_stream_stays_fresh(tiny_bundle: Path) -> None:
    """30 frames/s for 2 s against a 0.15 s segmenter: no latency grows, no frame goes without an answer."""
    seconds, rate, sent = 0.15, 30, 60
    left: dict[int, float] = {}
    latency: dict[int, float] = {}
    notice: dict[int, float] = {}

    async def camera() -> AsyncIterator[pb.StreamSegmentRequest]:
        start = time.monotonic()
        for number in range(sent):
            await asyncio.sleep(start + number / rate - time.monotonic())
            left[number] = time.monotonic()
            yield frame(number)

    async def work(stub: Any, door: Door) -> None:
        async for answer in stub.StreamSegment(camera()):
            now = time.monotonic()
            if answer.HasField("result"):
                number = answer.result.frame_id
                assert answer.result.label_map.train_ids[0] == number
                latency[number] = now - left[number]
            else:
                assert answer.dropped.reason == pb.DroppedFrame.SUPERSEDED
                notice[answer.dropped.frame_id] = now - left[answer.dropped.frame_id]

    in_door(tiny_bundle, work, PacedPredictor(seconds))
    waits = list(latency.values())
    print(f"{len(waits)} results after {min(waits):.3f} to {max(waits):.3f} s, notices by {max(notice.values()):.3f} s")
    assert latency.keys() | notice.keys() == set(range(sent))
    assert not latency.keys() & notice.keys()
    assert sent - 1 in latency
    assert len(waits) >= 0.7 * sent / rate / seconds
    # A frame waits at most one frame interval after the run before it, then runs.
    assert max(waits) < seconds + 2 / rate + 0.1
    assert np.mean(waits[-4:]) < np.mean(waits[1:5]) + 0.05
    assert max(notice.values()) < 2 / rate + 0.1


def test_all_answers_every_frame_in_order(tiny_bundle: Path) -> None:
    predictor = PacedPredictor(0.01)

    async def work(stub: Any, door: Door) -> list[pb.StreamSegmentResponse]:
        frames = (frame(n, queue_policy=ALL) for n in range(40))
        return [answer async for answer in stub.StreamSegment(frames)]

    answers = in_door(tiny_bundle, work, predictor)
    assert results(answers) == list(range(40))
    assert [a.result.label_map.train_ids[0] for a in answers] == list(range(40))
    assert len(predictor.batches) < 40, "frames of a file should share batches"


def test_all_holds_the_client_back(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()
    taken = 0

    async def frames() -> AsyncIterator[pb.StreamSegmentRequest]:
        nonlocal taken
        image = pb.Image(raw=pb.RawImage(height=512, width=1024, rgb=bytes(3 * 512 * 1024)))
        for number in range(60):
            taken = number
            yield pb.StreamSegmentRequest(frame_id=number, image=image, queue_policy=ALL)

    async def work(stub: Any, door: Door) -> int:
        predictor.gate.clear()
        call = stub.StreamSegment(frames())
        await asyncio.sleep(1.0)
        held = taken
        predictor.gate.set()
        assert results([answer async for answer in call]) == list(range(60))
        return held

    assert in_door(tiny_bundle, work, predictor, max_batch=2) < 30


def test_a_frame_older_than_max_age_is_dropped(tiny_bundle: Path) -> None:
    now = time.time()
    old, new, later = (Timestamp(seconds=int(now + shift)) for shift in (-60, 1, 3600))
    second, hour = Duration(seconds=1), Duration(seconds=3600)
    frames = [
        frame(0, queue_policy=ALL, capture_time=old, max_age=second),
        frame(1, queue_policy=ALL, capture_time=old, max_age=hour),
        frame(2, queue_policy=ALL, capture_time=new, max_age=second),
        frame(3, queue_policy=ALL, max_age=Duration()),
        frame(4, queue_policy=ALL, max_age=Duration(seconds=-1)),
        frame(5, queue_policy=ALL, capture_time=later, max_age=hour),
        frame(6, queue_policy=ALL, capture_time=old),
    ]

    async def work(stub: Any, door: Door) -> list[pb.StreamSegmentResponse]:
        return [answer async for answer in stub.StreamSegment(iter(frames))]

    answers = in_door(tiny_bundle, work, PacedPredictor())
    assert ids(answers) == list(range(7))
    assert results(answers) == [1, 2, 5, 6]
    assert reasons(answers) == {"EXPIRED": 2, "INVALID": 1}
    assert answers[1].result.capture_time == old


def test_a_frame_that_can_t_be_answered_in_time_is_dropped(tiny_bundle: Path) -> None:
    limit = Duration(nanos=100_000_000)

    async def work(stub: Any, door: Door) -> list[pb.StreamSegmentResponse]:
        return [answer async for answer in stub.StreamSegment(iter([frame(0, max_age=limit)]))]

    assert reasons(in_door(tiny_bundle, work, PacedPredictor(0.4))) == {"EXPIRED": 1}


def test_a_bad_frame_doesnt_end_the_stream(tiny_bundle: Path) -> None:
    bad = pb.Image(encoded=b"\xff\xd8\xff")
    frames = [frame(0, queue_policy=ALL), frame(1, queue_policy=ALL, image=bad), frame(2, queue_policy=ALL)]

    async def work(stub: Any, door: Door) -> list[pb.StreamSegmentResponse]:
        return [answer async for answer in stub.StreamSegment(iter(frames))]

    answers = in_door(tiny_bundle, work, PacedPredictor())
    assert results(answers) == [0, 2]
    assert answers[1].dropped.reason == pb.DroppedFrame.INVALID
    assert "JPEG" in answers[1].dropped.detail


def test_a_cancelled_stream_leaves_no_work_behind(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()

    async def work(stub: Any, door: Door) -> None:
        predictor.gate.clear()
        call = stub.StreamSegment(frame(n, queue_policy=ALL) for n in range(20))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.sleep(0.2)
        predictor.gate.set()
        await asyncio.sleep(0.2)
        leftover = [t for t in asyncio.all_tasks() if "FrameStream" in repr(t.get_coro())]
        assert not leftover

    in_door(tiny_bundle, work, predictor, max_batch=2)
    assert len(predictor.batches) <= 1


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
        assert time.monotonic() - started < 0.1
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
        assert await stub.Segment(pb.SegmentRequest(image=RAW)).code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_all(answers)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - started < 1

    in_door(tiny_bundle, work, PacedPredictor())


def test_stop_lets_work_at_hand_finish(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        call = stub.Segment(pb.SegmentRequest(image=RAW))
        await asyncio.sleep(0.2)
        stop = asyncio.create_task(door.server.stop(5))
        assert await call.code() == grpc.StatusCode.OK
        await stop

    in_door(tiny_bundle, work, PacedPredictor(0.6))


def test_reflection_lists_and_describes_the_services(tiny_bundle: Path) -> None:
    request = reflection_pb2.ServerReflectionRequest

    async def work(stub: Any, door: Door) -> list[Any]:
        reflection = reflection_pb2_grpc.ServerReflectionStub(door.channel)
        questions = [
            request(list_services=""),
            request(file_containing_symbol="adaptseg.v1.SegmentationService"),
            request(file_containing_symbol="inference.GRPCInferenceService"),
        ]
        return [answer async for answer in reflection.ServerReflectionInfo(iter(questions))]

    services, own, oip = in_door(tiny_bundle, work)
    assert {s.name for s in services.list_services_response.service} == {
        "adaptseg.v1.SegmentationService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for answer, calls in ((own, 3), (oip, 9)):
        file = FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
        assert len(file.service[0].method) == calls


def test_a_taken_port_is_said_in_a_sentence(tiny_bundle: Path) -> None:
    async def work(stub: Any, door: Door) -> None:
        second = GrpcServer(door.segmenter, door.segmenter.settings)
        with pytest.raises(ConfigError, match="ADAPTSEG_GRPC_PORT"):
            await second.start()

    in_door(tiny_bundle, work, PacedPredictor())
