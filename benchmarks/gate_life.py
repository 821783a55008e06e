"""Gates 1 to 3: leaving in good order, abandoned work, and streams of which only the latest frame counts."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import httpx
from gate import SLOW, Gate, frame, png, tiny_server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers.serving import Server, members

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc

SMALL = (48, 64)
FILE = png(frame(SMALL))
REQUEST = pb.SegmentRequest(image=pb.Image(encoded=FILE))
CLIENTS, PATIENCE, RUN = 10, 0.8, 0.3
FRAMES, RATE = 90, 30


def leaving() -> Gate:
    """SIGTERM with one image at work behind each door."""
    with (
        tiny_server(SMALL, SLOW, SLOW_SECONDS="1.5") as server,
        grpc.insecure_channel(server.grpc_target) as channel,
        ThreadPoolExecutor() as pool,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        by_http = pool.submit(httpx.post, f"{server.http_url}/v1/segment", content=FILE, timeout=20)
        by_grpc = segmentation_pb2_grpc.SegmentationServiceStub(channel).Segment.future(REQUEST)
        time.sleep(0.5)
        told = pool.submit(lambda: (next(watch).status, time.monotonic()))
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        while server.get("/readyz") == 200:
            pass
        http_ms = round(1000 * (time.monotonic() - started))
        status, at = told.result(10)
        grpc_ms = round(1000 * (at - started))
        complete = (by_http.result(20).status_code == 200) + (by_grpc.result(20).label_map.height == SMALL[0])
        watch.cancel()
        code = server.process.wait(20)
        left = len(members(server.process.pid))
    figures = {"readyz_ms": http_ms, "health_ms": grpc_ms, "in_flight_complete": f"{complete} of 2"}
    good = max(http_ms, grpc_ms) <= 100 and status == health_pb2.HealthCheckResponse.NOT_SERVING
    passed = good and complete == 2 and code == 0 and not left
    return Gate(
        1, "SIGTERM is seen within 100 ms, work at hand ends", passed, figures | {"exit": code, "orphans": left}
    )


def abandoned() -> Gate:
    """Ten clients at once give up, by each protocol's ways; what begins to run after the last of them is waste."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "runs"
        environ = {"SLOW_SECONDS": str(RUN), "SLOW_LOG": str(log)}
        environ |= {"ADAPTSEG_MAX_BATCH": "1", "ADAPTSEG_QUEUE_DEPTH": "20"}
        with tiny_server(SMALL, SLOW, **environ) as server:
            ways = {"http_hang_up": _hang_up, "grpc_deadline": _expire, "grpc_cancel": _cancel}
            wasted = {name: _wasted(server, give_up, log) for name, give_up in ways.items()}
    wanted = "10 clients give up at 0.8 s on a 0.3 s model: at most 1 run begins after"
    return Gate(2, wanted, max(wasted.values()) <= 1, wasted)


def _wasted(server: Server, give_up: Callable[[Server], None], log: Path) -> int:
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(give_up, [server] * CLIENTS))
    gone = time.monotonic()
    time.sleep(CLIENTS * RUN)
    return sum(float(line.split()[0]) > gone for line in log.read_text().splitlines())


def _hang_up(server: Server) -> None:
    with contextlib.suppress(httpx.TimeoutException):
        httpx.post(f"{server.http_url}/v1/segment", content=FILE, timeout=PATIENCE)


def _expire(server: Server) -> None:
    with grpc.insecure_channel(server.grpc_target) as channel, contextlib.suppress(grpc.RpcError):
        segmentation_pb2_grpc.SegmentationServiceStub(channel).Segment(REQUEST, timeout=PATIENCE)


def _cancel(server: Server) -> None:
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = segmentation_pb2_grpc.SegmentationServiceStub(channel).Segment.future(REQUEST)
        with contextlib.suppress(grpc.RpcError, grpc.FutureTimeoutError):
            call.result(PATIENCE)
        call.cancel()


def latest_frames() -> Gate:
    """30 frames a second before a 0.3 s model: each frame has one answer, and no answer is older than two runs."""
    sent: dict[int, float] = {}
    ages: list[float] = []
    answered: list[int] = []
    dropped: list[int] = []
    over = threading.Event()

    def camera() -> Iterator[pb.StreamSegmentRequest]:
        for number in range(FRAMES):
            sent[number] = time.monotonic()
            yield pb.StreamSegmentRequest(frame_id=number, image=REQUEST.image)
            over.wait(1 / RATE)

    with (
        tiny_server(SMALL, SLOW, SLOW_SECONDS=str(RUN)) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        for answer in segmentation_pb2_grpc.SegmentationServiceStub(channel).StreamSegment(camera()):
            if answer.WhichOneof("answer") == "dropped":
                dropped.append(answer.dropped.frame_id)
            else:
                answered.append(answer.result.frame_id)
                ages.append(time.monotonic() - sent[answer.result.frame_id])
    each_once = sorted(answered + dropped) == list(range(FRAMES))
    newest = answered == sorted(answered) and bool(dropped)
    figures = {"sent": FRAMES, "answered": len(answered), "notices": len(dropped), "oldest_s": round(max(ages), 3)}
    wanted = "latest frame: a notice for each skipped frame, no answer older than two runs"
    return Gate(3, wanted, each_once and newest and max(ages) < 2.5 * RUN, figures)
