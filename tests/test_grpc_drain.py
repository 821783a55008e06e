"""SIGTERM, as a gRPC client of the real server sees it."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers.serving import Server, members
from helpers.slow import Runs, slow_server

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.drain import Drain
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.segmenter import Segmenter

FRAME = np.zeros((48, 64, 3), np.uint8)
REQUEST = pb.SegmentRequest(image=pb.Image(raw=pb.RawImage(height=48, width=64, rgb=FRAME.tobytes())))


@pytest.fixture
def served(tiny_bundle: Path, tmp_path: Path) -> Iterator[tuple[Server, Runs]]:
    """Its doors close later than an image takes."""
    with slow_server(tiny_bundle, tmp_path, SLOW_SECONDS="1.5", ADAPTSEG_DRAIN_NOTICE="2") as running:
        yield running


def test_sigterm_is_seen_at_once_and_work_at_hand_completes(served: tuple[Server, Runs]) -> None:
    server, runs = served
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        at_hand = stub.Segment.future(REQUEST)
        runs.wait_for(1)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        print(f"NOT_SERVING after {1000 * (time.monotonic() - started):.0f} ms")  # Gate 1 is a benchmark's.
        assert not at_hand.done()
        assert stub.Segment.future(REQUEST).code() == grpc.StatusCode.UNAVAILABLE
        assert at_hand.result(timeout=10).label_map.height == 48
        watch.cancel()
    assert server.process.wait(20) == 0
    assert not members(server.process.pid)


def test_the_http_servers_end_waits_for_the_doors(tiny_bundle: Path) -> None:
    """Both ask for the end: what comes second must not find it done, or the process ends amid the answers."""

    class Door:
        left = 0

        async def start(self) -> None: ...

        async def stop(self, grace: float) -> None:
            await asyncio.sleep(0.2)
            self.left += 1

    async def main() -> None:
        segmenter = Segmenter(open_bundle(tiny_bundle))
        await segmenter.start()
        door = Door()
        drain = Drain(segmenter, [door])
        first = asyncio.create_task(drain.finish())
        await asyncio.sleep(0.05)
        await drain.finish()
        assert door.left == 1
        await first
        await segmenter.close()

    asyncio.run(main())


def test_an_answer_that_is_being_written_when_nothing_runs_leaves(tiny_bundle: Path, tmp_path: Path) -> None:
    """Confidence maps are made after the batch, when the queue is empty; and no HTTP request is open."""
    environ = {"SLOW_SECONDS": "0", "SLOW_ANSWER": "4", "ADAPTSEG_DRAIN_NOTICE": "0.2"}
    request = pb.SegmentRequest(image=REQUEST.image, include=pb.Include(confidence=True))
    with slow_server(tiny_bundle, tmp_path, **environ) as (server, runs):
        with grpc.insecure_channel(server.grpc_target) as channel:
            call = segmentation_pb2_grpc.SegmentationServiceStub(channel).Segment.future(request)
            runs.wait_for(1)
            server.process.send_signal(signal.SIGTERM)
            assert call.result(timeout=20).extras.ByteSize() > 48 * 64
        assert server.process.wait(20) == 0


def test_a_stream_is_told_that_the_server_leaves(served: tuple[Server, Runs]) -> None:
    server, _ = served
    leave = threading.Event()

    def camera() -> Iterator[pb.StreamSegmentRequest]:
        for number in range(1000):
            yield pb.StreamSegmentRequest(frame_id=number, image=REQUEST.image)
            if leave.wait(0.03):
                return

    with grpc.insecure_channel(server.grpc_target) as channel:
        stream = segmentation_pb2_grpc.SegmentationServiceStub(channel).StreamSegment(camera())
        next(stream)
        server.process.send_signal(signal.SIGTERM)
        answers = []
        with pytest.raises(grpc.RpcError):
            answers.extend(iter(stream))
        leave.set()
        assert stream.code() == grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(20) == 0
