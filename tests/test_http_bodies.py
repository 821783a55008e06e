"""Whatever body a client sends, the HTTP door gives an honest answer, and never a server error."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.http_door import PNG, http_door, problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import Message

from adaptseg_serve.http import middleware
from adaptseg_serve.http.middleware import BodyLimit


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[TestClient]:
    with http_door(tiny_bundle) as running:
        yield running


def test_images_that_are_none(client: TestClient) -> None:
    assert problem(client.post("/v1/segment", content=b""), 400, "bad-image")
    assert problem(client.post("/v1/segment", content=PNG[:-30]), 400, "bad-image")
    plain = problem(client.post("/v1/segment", content=b"hello"), 415, "unsupported-type")
    form = problem(client.post("/v1/segment", files={"image": b"hello"}), 415, "unsupported-type")
    assert "JPEG" in plain
    assert "JPEG" in form


def test_too_many_pixels_are_a_413_with_the_figure(client: TestClient) -> None:
    big = cv2.imencode(".png", np.zeros((100, 101, 3), np.uint8))[1].tobytes()
    assert "101 x 100 = 10100 pixels" in problem(client.post("/v1/segment", content=big), 413, "too-large")


def test_a_body_beyond_the_limit_is_refused_by_its_length(client: TestClient) -> None:
    answer = client.post("/v1/segment", content=bytes(100_001))
    assert "100001 bytes" in problem(answer, 413, "too-large")
    answer = client.post("/v2/models/tiny/infer", content=bytes(100_001))
    assert answer.status_code == 413
    assert "100001 bytes" in answer.json()["error"]


def test_a_body_without_a_length_is_refused_while_it_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is thrown away, up to a bound, before the connection is closed."""
    monkeypatch.setattr(middleware, "LINGER_BYTES", 5_000)
    pulled = 0

    async def receive() -> Message:
        nonlocal pulled
        pulled += 1
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    sent: list[tuple[int, Message]] = []

    async def send(message: Message) -> None:
        sent.append((pulled, message))

    async def greedy(scope: Any, receive: Any, send: Any) -> None:
        """Reads on whatever happens, and answers 500 to every exception, as BentoML's API methods do."""
        try:
            while (await receive())["more_body"]:
                pass
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"oops"})

    asyncio.run(
        BodyLimit(greedy, 10_000, 10_000, 5)({"type": "http", "path": "/v1/segment", "headers": []}, receive, send)
    )
    assert [(at, m["status"]) for at, m in sent if m["type"] == "http.response.start"] == [(11, 413)]
    assert [at for at, m in sent if m["type"] == "http.response.body" and not m.get("more_body")] == [16]
    assert pulled == 16


def test_text_in_the_file_field_is_refused_and_fetches_nothing(client: TestClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.setblocking(False)
        address = f"http://127.0.0.1:{bait.getsockname()[1]}/frame.jpg"
        form = client.post("/v1/segment", files={"image": (None, address)})
        assert "fetches no addresses" in problem(form, 422, "bad-parameter")
        assert "fetches nothing" in problem(client.post("/v1/segment", content=address), 415, "unsupported-type")
        with pytest.raises(BlockingIOError):
            bait.accept()


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "multipart/form-data"}, b""),
        (BOUNDARY, b""),
        (BOUNDARY, b"--x\r\nnonsense"),
        (BOUNDARY, b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"),
        (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\ntrain\r\n--x--'),
        (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + PNG[:50]),
        (
            {"Content-Type": "multipart/form-data; boundary=x; charset=nonsense"},
            b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\n\xff\r\n--x--',
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"},
            b'--x\r\nContent-Disposition: form-data; name="\\ud800"\r\n\r\n\\ud800\r\n--x--',
        ),
    ],
)
def test_broken_forms_are_the_clients_mistake(client: TestClient, headers: dict[str, str], body: bytes) -> None:
    answer = client.post("/v1/segment", content=body, headers=headers)
    assert answer.status_code in (400, 415, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200) | st.just(PNG),
    st.dictionaries(st.sampled_from(["ids", "render", "size", "include", "x"]), st.text(max_size=5), max_size=2),
    st.sampled_from(
        ["", "image/png", "multipart/form-data; boundary=a", 'multipart/form-data; boundary="', "text/plain", ";;"]
    ),
    st.sampled_from(["*/*", "image/*;q=0.1", ",;,", "application/json", "q=1", "image/png;q="]),
)
def test_nothing_a_client_sends_is_a_server_error(
    client: TestClient, body: bytes, query: dict[str, str], content_type: str, accept: str
) -> None:
    headers = {"Content-Type": content_type, "Accept": accept}
    assert client.post("/v1/segment", content=body, params=query, headers=headers).status_code < 500
