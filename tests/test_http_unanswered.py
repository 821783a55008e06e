"""Requests that the HTTP door has no answer for: no such path, no segmenter yet, nobody who listens any more."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.http_door import PNG, http_door, problem
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.http.app import create_app
from adaptseg_serve.http.segment import answer
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[TestClient]:
    with http_door(tiny_bundle) as running:
        yield running


def test_paths_and_methods_that_are_not_there(client: TestClient) -> None:
    problem(client.get("/v1/nothing"), 404, "not-found")
    assert client.get("/v1/segment").headers["allow"] == "POST"
    assert problem(client.get("/v1/segment"), 405, "method-not-allowed") == "GET /v1/segment: Use POST."
    for path in ("/v1/labels", "/v1/models"):
        problem(client.post(path, content=b"x"), 405, "method-not-allowed")
        assert client.post(path, content=b"x").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v2", "GET, HEAD"),
        ("PUT", "/v2/models/tiny/infer", "POST"),
        ("GET", "/v2/models/tiny/infer", "POST"),
        ("POST", "/v2/models/tiny", "GET, HEAD"),
        ("POST", "/v2/health/ready", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_there_is_an_oip_error_under_v2(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path, content=b"x")
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/json")
    assert answer.json()["error"].startswith(f"{method} {path}: ")
    assert set(answer.headers["allow"].split(", ")) == set(allowed.split(", "))
    assert client.put("/v2/x", content=b"x").status_code == 404
    problem(client.put("/v2x", content=b"x"), 404, "not-found")


def test_an_app_without_its_segmenter_says_so() -> None:
    with TestClient(create_app()) as loading:
        answer = loading.post("/v1/segment", content=PNG)
        assert "still loading" in problem(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_client_that_hangs_up_takes_its_queued_work_with_it(tiny_bundle: Path) -> None:
    class Endless:
        def __init__(self) -> None:
            self.cancelled = False
            self.metrics, self.settings = Segmenter(open_bundle(tiny_bundle)).metrics, Settings()

        async def segment_encoded(self, data: bytes, **options: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    async def messages() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": PNG, "more_body": False}
        await asyncio.sleep(0.01)
        yield {"type": "http.disconnect"}

    async def main() -> None:
        endless, source = Endless(), messages()
        scope = {"type": "http", "method": "POST", "headers": [], "query_string": b"", "path": "/"}
        response = await answer(Request(scope, lambda: anext(source)), endless)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert response.status_code == 499
        assert endless.cancelled

    asyncio.run(main())
