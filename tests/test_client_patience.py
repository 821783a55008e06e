"""How long the Python client waits, and how often it asks again: against servers that are busy, slow or not there."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from helpers.doors import PacedPredictor, grpc_door
from helpers.serving import free_port

from adaptseg_serve.client import AsyncSegmentationClient, Retry, SegmentationClient
from adaptseg_serve.client.over_http import _retry_after, segment_request
from adaptseg_serve.errors import Busy, DeadlineExceeded
from adaptseg_serve.http.parameters import MAX_TIMEOUT_MS

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there_is_busy_after_the_retries(scheme: str) -> None:
    url, retry = f"{scheme}://127.0.0.1:{free_port()}", Retry(attempts=2, first=0.01)
    with SegmentationClient(url, retry=retry) as client, pytest.raises(Busy):
        client.segment(PNG)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_connection_that_is_closed_is_opened_again(kind: str) -> None:
    """As a service does that restarts, or that waited long enough for the next picture."""
    closed = 0

    class Closing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal closed
            self.rfile.read(int(self.headers["Content-Length"]))
            if closed < 2:
                closed += 1
                self.close_connection = True
                return
            self.send_response(200)
            for name, value in (("Content-Length", "2"), ("X-Label-Map-Height", "1"), ("X-Label-Map-Width", "2")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ab")

        def log_message(self, *args: object) -> None: ...

    async def ask(url: str) -> None:
        async with AsyncSegmentationClient(url, retry=Retry(first=0.01)) as client:
            assert (await client.segment(PNG)).label_map.shape == (1, 2)

    with HTTPServer(("127.0.0.1", 0), Closing) as there:
        thread = threading.Thread(target=there.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{there.server_port}"
        if kind == "async":
            asyncio.run(ask(url))
        else:
            with SegmentationClient(url, retry=Retry(first=0.01)) as client:
                assert client.segment(PNG).label_map.shape == (1, 2)
        there.shutdown()
    assert closed == 2


def test_a_slow_answer_has_one_timeout_in_all() -> None:
    """httpx's own begins anew with each part of an answer."""

    class Trickle(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            for _ in range(100):
                time.sleep(0.05)
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

        def log_message(self, *args: object) -> None: ...

    async def ask(url: str) -> None:
        async with AsyncSegmentationClient(url, timeout=0.3) as client:
            with pytest.raises(DeadlineExceeded):
                await client.segment(PNG)

    with HTTPServer(("127.0.0.1", 0), Trickle) as there:
        thread = threading.Thread(target=there.serve_forever, daemon=True)
        thread.start()
        started = time.monotonic()
        asyncio.run(ask(f"http://127.0.0.1:{there.server_port}"))
        assert time.monotonic() - started < 3
        there.shutdown()


@pytest.mark.parametrize("timeout", [7200.0, float("inf")])
def test_no_timeout_is_longer_than_the_services(timeout: float) -> None:
    request = segment_request(PNG, "input", (), timeout)
    assert request["headers"]["X-Request-Timeout-Ms"] == str(MAX_TIMEOUT_MS)
    assert request["timeout"] == MAX_TIMEOUT_MS / 1000


@contextmanager
def busy_server(refusals: int, retry_after: str, status: int = 503) -> Iterator[tuple[str, list[float]]]:
    """Refuses so many requests, then answers a 1 x 2 label map; yields its URL and the times of the requests."""
    times: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            times.append(time.monotonic())
            refuse = len(times) <= refusals
            self.send_response(status if refuse else 200)
            headers = {"Retry-After": retry_after} if refuse else {"X-Label-Map-Height": "1", "X-Label-Map-Width": "2"}
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"\x00\x01")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", times
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(status: int) -> None:
    with busy_server(2, "0.3", status) as (url, times), SegmentationClient(url, retry=Retry(first=0.01)) as client:
        assert client.segment(PNG).label_map.tolist() == [[0, 1]]
    assert len(times) == 3
    assert min(np.diff(times)) >= 0.3


def test_no_retry_that_would_end_after_the_timeout() -> None:
    with (
        busy_server(9, "60") as (url, times),
        SegmentationClient(url, timeout=2) as client,
        pytest.raises(Busy) as caught,
    ):
        client.segment(PNG)
    assert caught.value.retry_after == 60
    assert len(times) == 1


def test_pauses_grow_and_attempts_end() -> None:
    retry, busy = Retry(attempts=5, first=1.0, longest=3.0), Busy("full", 0.0)
    pauses = [retry.pause(n, busy, left=100) for n in (1, 2, 3, 4)]
    assert all(low <= pause <= 2 * low for pause, low in zip(pauses, (0.5, 1.0, 1.5, 1.5), strict=True))
    with pytest.raises(Busy):
        retry.pause(5, busy, left=100)
    asked = Busy("full", 2.0)
    assert 2.5 <= retry.pause(1, asked, left=100) <= 3.0, "on top of what the service asks for"


def test_grpc_busy_and_deadline_are_told_apart(tiny_bundle: Path) -> None:
    predictor = PacedPredictor(1.0)

    async def ask() -> list[object]:
        async with (
            grpc_door(tiny_bundle, predictor, max_batch=1, queue_depth=1) as door,
            AsyncSegmentationClient(f"grpc://{door.target}", retry=Retry(attempts=1)) as client,
        ):
            first = [asyncio.create_task(client.segment(PNG, timeout=0.5)) for _ in range(6)]
            return await asyncio.gather(*first, return_exceptions=True)

    kinds = {type(found) for found in asyncio.run(ask())}
    assert kinds == {Busy, DeadlineExceeded}


@pytest.mark.parametrize(
    ("said", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", 1.0), (None, 1.0), ("Wed, 21 Oct 2015", 1.0)]
)
def test_what_retry_after_says(said: str | None, seconds: float) -> None:
    assert _retry_after(httpx.Response(503, headers={} if said is None else {"Retry-After": said})) == seconds


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 57 < _retry_after(httpx.Response(503, headers={"Retry-After": later})) <= 60
    earlier = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)
    assert _retry_after(httpx.Response(503, headers={"Retry-After": earlier})) == 0
