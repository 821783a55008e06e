"""Large answers leave in pieces; one that nobody reads is given up, and holds nothing any more."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.serving import serving
from starlette.types import Message

from adaptseg_serve.http import pace
from adaptseg_serve.http.pace import AnswerPace

BODY = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PIECE_BYTES", 1000)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["body"]})


def answer_of(body: bytes, pieces: int, timeout: float = 5.0) -> list[Message]:
    """What a client gets that reads no more than so many `pieces`."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        if sum(m["type"] == "http.response.body" for m in sent) == pieces:
            await asyncio.Event().wait()
        sent.append(message)

    asyncio.run(AnswerPace(app, timeout)({"type": "http", "body": body}, None, send))  # type: ignore[arg-type]
    return sent[1:]


@pytest.mark.parametrize("length", [0, 1, 999, 1000, 1001, 2000, len(BODY)])
def test_an_answer_is_the_same_in_pieces(length: int) -> None:
    sent = answer_of(BODY[:length], 100)
    assert b"".join(m.get("body", b"") for m in sent) == BODY[:length]
    assert max(len(m["body"]) for m in sent) <= 1000
    assert [m.get("more_body", False) for m in sent] == [True] * (len(sent) - 1) + [False]


def test_an_answer_that_nobody_reads_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    sent = answer_of(BODY, 2, timeout=0.05)
    assert [m["more_body"] for m in sent] == [True, True], "it has no end, so the connection is closed"
    assert "nobody read it" in caplog.text


def test_a_service_lets_go_of_a_client_that_reads_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    """3000 x 4000 pixels are 12 MB of train ids, far more than the sockets between us hold."""
    image = cv2.imencode(".png", np.zeros((3000, 4000, 3), np.uint8))[1].tobytes()
    headers = ("Host: x", "Accept: application/octet-stream", f"Content-Length: {len(image)}")
    head = "\r\n".join(["POST /v1/segment HTTP/1.1", *headers, "", ""])
    with (
        serving(tiny_bundle, tmp_path, ADAPTSEG_TIMEOUT="2") as server,
        socket.create_connection(("127.0.0.1", int(server.http_url.rpartition(":")[2]))) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)  # A smaller one takes minutes to drain.
        client.sendall(head.encode() + image)
        client.settimeout(60)
        while b"nobody read it" not in server.log.read_bytes():
            time.sleep(0.1)
        read = 0
        while data := client.recv(1 << 20):
            read += len(data)
    assert 0 < read < 12_000_000, "the rest never comes"
