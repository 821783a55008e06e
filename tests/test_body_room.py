"""HTTP bodies that would fill the memory, or never come: all of them together have a bound, and each has a time."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from adaptseg_serve.http import middleware
from adaptseg_serve.http.middleware import BodyLimit


@pytest.fixture(autouse=True)
def without_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "LINGER_SECONDS", 0.01)


class Upload:
    """One request of a client that sends `pieces` and then stalls, or, where `ends`, is done."""

    def __init__(self, *pieces: bytes, ends: bool = False, path: str = "/v1/segment") -> None:
        self.scope: dict[str, Any] = {"type": "http", "path": path, "headers": []}
        self._pieces, self._ends = list(pieces), ends
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._pieces:
            await asyncio.Event().wait()
        body = self._pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self._pieces) or not self._ends}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return next((int(m["status"]) for m in self.sent if m["type"] == "http.response.start"), 0)

    @property
    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b"".join(m.get("body", b"") for m in self.sent))
        return found


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(scope.get("takes", 0))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.parametrize(("path", "field"), [("/v1/segment", "detail"), ("/v2/models/tiny/infer", "error")])
def test_a_body_that_does_not_come_is_given_up(path: str, field: str) -> None:
    upload = Upload(b"1234", path=path)

    async def run() -> None:
        await asyncio.wait_for(BodyLimit(reads_all, 100, 100, 0.05)(upload.scope, upload.receive, upload.send), 5)

    asyncio.run(run())
    assert upload.status == 504
    assert "had not come after 0.05 s" in upload.answer[field]


def test_an_answer_may_take_longer_than_a_body() -> None:
    upload = Upload(b"1234", ends=True)
    upload.scope["takes"] = 0.1
    asyncio.run(BodyLimit(reads_all, 100, 100, 0.05)(upload.scope, upload.receive, upload.send))
    assert upload.status == 200


def test_bodies_of_all_requests_together_have_a_bound() -> None:
    async def run() -> None:
        limit = BodyLimit(reads_all, 80, 100, 60)
        first, second, third = Upload(bytes(70)), Upload(bytes(70), ends=True), Upload(bytes(70), ends=True)
        stalled = asyncio.create_task(limit(first.scope, first.receive, first.send))
        await asyncio.sleep(0.01)
        await limit(second.scope, second.receive, second.send)
        assert second.status == 503
        assert "ADAPTSEG_MAX_HELD_BYTES" in second.answer["detail"]
        assert any(name == b"retry-after" for m in second.sent for name, _ in m.get("headers", ()))
        stalled.cancel()
        await asyncio.wait([stalled])
        await limit(third.scope, third.receive, third.send)
        assert third.status == 200, "what the other held is free again"

    asyncio.run(run())
