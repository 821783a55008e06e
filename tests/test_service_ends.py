"""How the service ends, and what it leaves: `bentoml serve` in processes of its own, asked over the network."""

import contextlib
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest
from helpers.serving import Server, members, serving
from helpers.slow import slow_server

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()


def ask(server: Server, body: bytes = PNG, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.http_url}/v1/segment", content=body, headers=headers, timeout=30)


def test_sigterm_drains(tiny_bundle: Path, tmp_path: Path) -> None:
    """Readiness says no at once, in-flight answers complete, late calls are told, no orphans, exit 0.

    The door closes later than an image takes, and nothing waits for the end of the grace.
    """
    environ = {"SLOW_SECONDS": "1.5", "ADAPTSEG_DRAIN_NOTICE": "2", "ADAPTSEG_DRAIN_GRACE": "60"}
    with slow_server(tiny_bundle, tmp_path, **environ) as (server, runs), ThreadPoolExecutor() as pool:
        group = server.process.pid
        inflight = pool.submit(ask, server)
        runs.wait_for(1)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        while server.get("/readyz") == 200:
            assert time.monotonic() - started < 10
        noticed = time.monotonic() - started
        assert not inflight.done()
        late = ask(server)
        assert inflight.result(10).status_code == 200
        assert late.status_code == 503
        assert "shutting down" in late.json()["detail"]
        assert int(late.headers["retry-after"]) >= 1
        assert server.process.wait(30) == 0
        print(f"readiness said no {1000 * noticed:.0f} ms after SIGTERM")  # 100 ms is the bar on a quiet machine.
        assert members(group) == []


def test_sigterm_ends_also_what_does_not_finish(tiny_bundle: Path, tmp_path: Path) -> None:
    """What still waits when the grace is over gets a 503, and the process goes."""
    environ = {"SLOW_SECONDS": "0.8", "ADAPTSEG_MAX_BATCH": "1", "ADAPTSEG_QUEUE_DEPTH": "8"}
    environ |= {"ADAPTSEG_DRAIN_NOTICE": "0.1", "ADAPTSEG_DRAIN_GRACE": "0.5"}
    with slow_server(tiny_bundle, tmp_path, **environ) as (server, runs), ThreadPoolExecutor() as pool:
        calls = [pool.submit(ask, server) for _ in range(5)]
        runs.wait_for(2)
        server.process.send_signal(signal.SIGTERM)
        statuses = sorted(call.result(10).status_code for call in calls)
        assert statuses[0] == 200
        assert statuses[-1] == 503
        assert set(statuses) == {200, 503}
        assert server.process.wait(10) == 0


def test_an_upload_that_never_ends_does_not_keep_the_process(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tiny_bundle, tmp_path, ADAPTSEG_DRAIN_NOTICE="0.1", ADAPTSEG_DRAIN_GRACE="0.5") as server:
        place = urlsplit(server.http_url)
        with socket.create_connection((str(place.hostname), int(place.port or 0))) as stuck:
            stuck.sendall(b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0


PIXELS = {"datatype": "UINT8", "shape": [1, *FRAME.shape], "parameters": {"binary_data_size": FRAME.nbytes}}
HEAD = json.dumps({"inputs": [{"name": "image", **PIXELS}]}).encode()
ASKED: dict[str, dict[str, Any]] = {
    "/v1/segment": {"content": PNG},
    "/v2/models/segmenter/infer": {
        "content": HEAD + FRAME.tobytes(),
        "headers": {"Inference-Header-Content-Length": str(len(HEAD))},
    },
}


@pytest.mark.parametrize("path", ASKED)
def test_clients_that_hang_up_or_expire_leave_no_work_behind(path: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """Gate 2: a 0.3 s model and ten clients that give up after 0.8 s; at most one run begins after the last has."""
    environ = {"SLOW_SECONDS": "0.3", "ADAPTSEG_MAX_BATCH": "1", "ADAPTSEG_QUEUE_DEPTH": "20"}

    def hang_up(client: httpx.Client) -> float:
        with contextlib.suppress(httpx.TimeoutException):
            client.post(path, **ASKED[path], timeout=0.8)
        return time.monotonic()

    def expire(client: httpx.Client) -> float:
        headers = {**ASKED[path].get("headers", {}), "X-Request-Timeout-Ms": "800"}
        answer = client.post(path, content=ASKED[path]["content"], headers=headers, timeout=30)
        assert answer.status_code in (200, 504)
        return time.monotonic()

    with (
        slow_server(tiny_bundle, tmp_path, **environ) as (server, runs),
        httpx.Client(base_url=server.http_url) as client,
    ):
        for give_up in (hang_up, expire):
            before = len(runs.begun())
            with ThreadPoolExecutor(10) as pool:
                gone = max(pool.map(give_up, [client] * 10))
            time.sleep(1.2)
            begun = runs.begun()[before:]
            assert 1 <= len(begun) <= 5
            assert sum(moment > gone + 0.1 for moment in begun) <= 1


def test_a_deadline_beyond_the_timeout_is_kept_by_us_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    """The device waits 10 s for company; BentoML's own 504 would come after ADAPTSEG_TIMEOUT and some seconds."""
    with serving(tiny_bundle, tmp_path, ADAPTSEG_TIMEOUT="0.2", ADAPTSEG_MAX_DELAY="10") as server:
        started = time.monotonic()
        expired = ask(server, **{"X-Request-Timeout-Ms": "6000"})
        assert time.monotonic() - started > 5.9
        assert (expired.status_code, expired.headers["content-type"]) == (504, "application/problem+json")
