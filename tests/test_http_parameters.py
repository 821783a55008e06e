"""Parameters of the HTTP door: a wrong one is named, formats are negotiated, deadlines are kept."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.http_door import PNG, http_door, problem
from starlette.testclient import TestClient

from adaptseg_serve import segmenter
from adaptseg_serve.http import segment
from adaptseg_serve.http.parameters import negotiate


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[TestClient]:
    with http_door(tiny_bundle) as running:
        yield running


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ModuleType, str], None]]:
    """Makes a module's function wait for the end of the test, or for 20 s."""
    over = threading.Event()

    def hold(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def held(*args: Any) -> Any:
            over.wait(20)
            return real(*args)

        monkeypatch.setattr(module, name, held)

    yield hold
    over.set()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("ids=both", "ids='both' must be one of train, label"),
        ("render=mask", "must be one of labels, color, overlay"),
        ("size=big", "must be one of input, model"),
        ("include=confidence&render=color", "go with render=labels"),
        ("include=magic", "'magic' is unknown"),
        ("rendr=color", "Perhaps you meant 'render'"),
        ("ids=%ff%fe", "must be one of"),
    ],
)
def test_a_wrong_parameter_is_named(client: TestClient, query: str, says: str) -> None:
    assert says in problem(client.post(f"/v1/segment?{query}", content=PNG), 422, "bad-parameter")


@pytest.mark.parametrize("milliseconds", ["0", "-1", "1e3", "soon", "9" * 30, "3600001"])
def test_a_wrong_timeout_is_refused(client: TestClient, milliseconds: str) -> None:
    answer = client.post("/v1/segment", content=PNG, headers={"X-Request-Timeout-Ms": milliseconds})
    assert "X-Request-Timeout-Ms" in problem(answer, 422, "bad-parameter")


def test_an_expired_request_is_a_504(client: TestClient, hold: Callable[[ModuleType, str], None]) -> None:
    hold(segmenter, "decode_image")
    answer = client.post("/v1/segment", content=PNG, headers={"X-Request-Timeout-Ms": "100"})
    assert "before it was decoded" in problem(answer, 504, "deadline-exceeded")


def test_the_way_of_the_body_counts(client: TestClient) -> None:
    def slowly() -> Iterator[bytes]:
        yield PNG[:100]
        time.sleep(0.3)
        yield PNG[100:]

    assert client.post("/v1/segment", content=slowly()).status_code == 200
    answer = client.post("/v1/segment", content=slowly(), headers={"X-Request-Timeout-Ms": "200"})
    problem(answer, 504, "deadline-exceeded")


def test_encoding_ends_at_the_deadline(client: TestClient, hold: Callable[[ModuleType, str], None]) -> None:
    hold(segment, "encode_answer")
    answer = client.post("/v1/segment", content=PNG, headers={"X-Request-Timeout-Ms": "2000"})
    assert "before it was encoded" in problem(answer, 504, "deadline-exceeded")


@pytest.mark.parametrize(
    ("accept", "render", "chosen"),
    [
        ("", "labels", "image/png"),
        ("*/*", "labels", "image/png"),
        ("image/avif,image/webp,image/*;q=0.8,*/*;q=0.5", "labels", "image/png"),
        ("application/json, image/png;q=0.5", "labels", "application/json"),
        ("application/*", "labels", "application/octet-stream"),
        ("image/png;q=0, */*", "labels", "application/octet-stream"),
        ("IMAGE/JPEG ; Q=1", "overlay", "image/jpeg"),
        ("text/html;q=x, image/png", "labels", "image/png"),
    ],
)
def test_accept_is_negotiated(accept: str, render: Any, chosen: str) -> None:
    assert negotiate(accept, render) == chosen


@pytest.mark.parametrize(
    ("accept", "query"), [("text/html", ""), ("image/jpeg", ""), ("application/json", "?render=color")]
)
def test_an_unavailable_format_is_a_406_with_the_list(client: TestClient, accept: str, query: str) -> None:
    answer = client.post(f"/v1/segment{query}", content=PNG, headers={"Accept": accept})
    assert "is available as image/png" in problem(answer, 406, "not-acceptable")
