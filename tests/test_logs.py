"""The log of a real server: one JSON line a request, over both doors, and never what an image shows."""

import base64
import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import pytest
from helpers.serving import Server

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.logs import JsonFormatter, TextFormatter
from adaptseg_serve.record import Identity, Recording

FRAME = np.random.default_rng(5).integers(0, 256, (50, 70, 3), np.uint8)
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
STAGES = {"decode", "queue", "infer", "encode"}


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    """The one line of this request; it is written when the answer has left, so it may take a moment."""
    for _ in range(100):
        lines = [line for line in server.log.read_text().splitlines() if request_id in line]
        if lines:
            assert len(lines) == 1
            return dict(json.loads(lines[0]))
        time.sleep(0.05)
    raise AssertionError(f"no line has {request_id}:\n{server.log.read_text()}")


def post(server: Server, request_id: str, content: bytes = PNG) -> httpx.Response:
    headers = {"X-Request-Id": request_id, "traceparent": TRACEPARENT}
    return httpx.post(f"{server.http_url}/v1/segment", content=content, headers=headers)


def test_an_answered_http_request(strict: Server) -> None:
    answer = post(strict, "http-ok")
    line = line_of(strict, "http-ok")
    expected = {
        "level": "info",
        "trace_id": TRACE_ID,
        "protocol": "http",
        "call": "POST /v1/segment",
        "status": 200,
        "images": 1,
        "image_size": [50, 70],
        "bytes_in": len(PNG),
        "bytes_out": len(answer.content),
    }
    assert {name: line[name] for name in expected} == expected
    assert line["stages"].keys() == STAGES
    assert 0 < sum(line["stages"].values()) < line["seconds"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


@pytest.mark.parametrize(
    ("request_id", "content", "status", "reason"),
    [("http-bad", b"GIF89a", 415, "unsupported-type"), ("http-large", bytes(200_000), 413, "too-large")],
)
def test_a_refused_http_request(strict: Server, request_id: str, content: bytes, status: int, reason: str) -> None:
    assert post(strict, request_id, content).status_code == status
    line = line_of(strict, request_id)
    assert (line["level"], line["status"], line.get("reason")) == ("warning", status, reason)
    assert "stages" not in line


def segment(server: Server, request_id: str, content: bytes) -> pb.SegmentResponse:
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        request = pb.SegmentRequest(image=pb.Image(encoded=content))
        metadata = (("x-request-id", request_id), ("traceparent", TRACEPARENT))
        response: pb.SegmentResponse = stub.Segment(request, metadata=metadata, timeout=10)
        return response


def test_grpc_calls(strict: Server) -> None:
    response = segment(strict, "grpc-ok", PNG)
    line = line_of(strict, "grpc-ok")
    expected = {
        "level": "info",
        "trace_id": TRACE_ID,
        "protocol": "grpc",
        "call": "/adaptseg.v1.SegmentationService/Segment",
        "status": "OK",
        "images": 1,
        "image_size": [50, 70],
        "bytes_out": response.ByteSize(),
    }
    assert {name: line[name] for name in expected} == expected
    assert line["stages"].keys() == STAGES
    assert line["bytes_in"] > len(PNG)
    with pytest.raises(grpc.RpcError):
        segment(strict, "grpc-bad", b"GIF89a")
    line = line_of(strict, "grpc-bad")
    assert (line["level"], line["status"], line["reason"]) == ("warning", "INVALID_ARGUMENT", "unsupported-type")


def test_a_stream_is_one_line_with_its_images(strict: Server) -> None:
    def frames() -> Iterator[pb.StreamSegmentRequest]:
        for number in range(5):
            policy = pb.StreamSegmentRequest.ALL
            yield pb.StreamSegmentRequest(frame_id=number, queue_policy=policy, image=pb.Image(encoded=PNG))

    with grpc.insecure_channel(strict.grpc_target) as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        answers = list(stub.StreamSegment(frames(), metadata=(("x-request-id", "grpc-stream"),), timeout=10))
    line = line_of(strict, "grpc-stream")
    assert (line["status"], line["images"], len(answers)) == ("OK", 5, 5)
    assert line["stages"].keys() == STAGES


def test_health_is_quiet_and_nothing_shows_an_image(strict: Server) -> None:
    strict.get("/livez")
    httpx.get(f"{strict.http_url}/v1/labels", headers={"X-Request-Id": "labels"})
    line_of(strict, "labels")
    log = strict.log.read_text()
    assert "/livez" not in log
    assert base64.b64encode(PNG).decode()[40:60] not in log
    ours = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    longest = max(ours, key=lambda line: len(json.dumps(line)))
    assert len(json.dumps(longest)) < 1000


def record(message: str, **request: object) -> logging.LogRecord:
    made = logging.LogRecord("adaptseg_serve.record", logging.INFO, "", 0, message, (), None)
    if request:
        made.request = request
    return made


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_request_can_not_break_a_line(formatter: logging.Formatter) -> None:
    """A path with a line break would forge a line; an escape sequence would reach somebody's terminal."""
    line = formatter.format(record("GET /a\n\x1b[31mb\u2028", reason="x\ny"))
    assert line.isascii()
    assert line.isprintable()


def test_text_says_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    line = TextFormatter().format(record("POST /v1/segment 200", call="POST /v1/segment", status=200, images=1))
    assert line.endswith(" INFO adaptseg_serve.record POST /v1/segment 200 images=1")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_names_the_request_that_met_it(formatter: logging.Formatter) -> None:
    line = logging.getLogger("any").makeRecord("any", logging.ERROR, "", 0, "A request failed", (), None)
    assert "request_id" not in formatter.format(line)
    with Recording("http", "POST /v1/segment", lambda: Identity("mine", {}), write=lambda _: None):
        written = formatter.format(line)
    assert re.search(r'request_id"?(=|: )"mine"', written)
    assert "call" not in written
