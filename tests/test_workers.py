"""ADAPTSEG_WORKERS=2: two processes behind one HTTP and one gRPC port, both at work, counted and gone together."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil
from helpers.serving import Server, members, serving

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc

CALLS = 32
FRAME = np.zeros((48, 64, 3), np.uint8)
REQUEST = pb.SegmentRequest(image=pb.Image(raw=pb.RawImage(height=48, width=64, rgb=FRAME.tobytes())))


def connections(server: Server, status: str) -> dict[int, int]:
    """How many connections of the gRPC port each worker has in that state; workers without any are left out."""
    port = int(server.grpc_target.rpartition(":")[2])
    found = {
        child.pid: sum(c.laddr.port == port and c.status == status for c in child.net_connections("tcp"))
        for child in psutil.Process(server.process.pid).children(recursive=True)
    }
    return {pid: count for pid, count in found.items() if count}


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_both_workers_answer(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(
        tiny_bundle, tmp_path, CUDA_VISIBLE_DEVICES="5,GPU-1a", ADAPTSEG_WORKERS="2", ADAPTSEG_THREADS="1"
    ) as server:
        wait_for(lambda: len(connections(server, psutil.CONN_LISTEN)) == 2)
        assert "worker 1 of 2 takes GPU 5" in server.log.read_text()
        assert "worker 2 of 2 takes GPU GPU-1a" in server.log.read_text()
        options = [("grpc.use_local_subchannel_pool", 1)]  # Or else all channels would be one connection.
        channels = [grpc.insecure_channel(server.grpc_target, options=options) for _ in range(CALLS)]
        for channel in channels:
            answer = segmentation_pb2_grpc.SegmentationServiceStub(channel).Segment(REQUEST, timeout=30)
            assert answer.label_map.height == 48
        shared = connections(server, psutil.CONN_ESTABLISHED)
        assert len(shared) == 2, shared
        assert sum(shared.values()) == CALLS
        metrics = httpx.get(f"{server.http_url}/metrics").text
        assert f'adaptseg_inference_requests_total{{outcome="ok",protocol="grpc",reason=""}} {CALLS}.0' in metrics
        for channel in channels:
            channel.close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert members(server.process.pid) == []


def test_a_killed_worker_comes_back_and_is_counted_once(tiny_bundle: Path, tmp_path: Path) -> None:
    def capacity() -> float:
        return float(httpx.get(f"{server.http_url}/metrics").text.split("\nadaptseg_queue_capacity ")[1].split()[0])

    in_an_image = {"BENTOML_CONTAINERIZED": "true"}  # BentoML's, where it would leave a dead worker dead
    with serving(tiny_bundle, tmp_path, ADAPTSEG_WORKERS="2", ADAPTSEG_THREADS="1", **in_an_image) as server:
        wait_for(lambda: len(connections(server, psutil.CONN_LISTEN)) == 2)
        both = capacity()
        killed = next(iter(connections(server, psutil.CONN_LISTEN)))
        psutil.Process(killed).kill()
        wait_for(lambda: len(connections(server, psutil.CONN_LISTEN).keys() - {killed}) == 2)
        assert capacity() == both
        assert "\nadaptseg_ready 1.0\n" in httpx.get(f"{server.http_url}/metrics").text
