"""StreamSegment: the newest frame or all of them, and a notice for every frame that is dropped."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from helpers.doors import Door, PacedPredictor, until
from helpers.segmentation_calls import frame, ids, in_door, reasons, results
from numpy.typing import NDArray

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Size

ALL = pb.StreamSegmentRequest.ALL


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
    assert len(waits) >= 0.4 * sent / rate / seconds
    # A frame waits at most one frame interval after the run before it, then runs; a queue would have grown to 7 s.
    assert max(waits) < seconds + 2 / rate + 1
    assert np.mean(waits[-4:]) < np.mean(waits[1:5]) + 0.5
    assert max(notice.values()) < 2 / rate + 1


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


def test_a_frame_that_fails_in_the_server_ends_no_other_frame(tiny_bundle: Path) -> None:
    class Fails(PacedPredictor):
        def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
            if (images[:, 0, 0, 0] == 3).any():
                raise ValueError("no kernel for this one")
            return super().predict(images, sizes)

    async def work(stub: Any, door: Door) -> list[pb.StreamSegmentResponse]:
        return [answer async for answer in stub.StreamSegment(frame(n, queue_policy=ALL) for n in range(8))]

    answers = in_door(tiny_bundle, work, Fails())
    assert ids(answers) == list(range(8))
    assert reasons(answers) == {"INTERNAL": 1}
    assert answers[3].dropped.detail == "The server failed to answer; its log says why."


def test_a_connection_of_age_is_made_anew_and_its_stream_lives_on(tiny_bundle: Path) -> None:
    go_on = asyncio.Event()

    async def camera() -> AsyncIterator[pb.StreamSegmentRequest]:
        yield frame(0)
        await go_on.wait()
        yield frame(1)

    async def work(stub: Any, door: Door) -> list[int]:
        answers = []
        async for answer in stub.StreamSegment(camera()):
            answers.append(answer.result.frame_id)
            if len(answers) == 1:
                gone = until(lambda: door.channel.get_state() is grpc.ChannelConnectivity.IDLE)
                await asyncio.wait_for(gone, 20)
                assert (await stub.Segment(pb.SegmentRequest(image=frame(7).image))).label_map.train_ids[0] == 7
                go_on.set()
        return answers

    assert in_door(tiny_bundle, work, PacedPredictor(), grpc_connection_age=0.3) == [0, 1]
