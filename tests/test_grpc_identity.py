"""A call's log line is written when its answer has left, and its metadata's memory is then gRPC's again."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from helpers.doors import Door
from helpers.segmentation_calls import RAW, in_door

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb

CALLS = 200


def test_every_call_is_written_down_under_its_own_id(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = [f"call-{number:04}-{'x' * 40}" for number in range(CALLS)]

    async def work(stub: Any, door: Door) -> None:
        for start in range(0, CALLS, 4):
            ids = wanted[start : start + 4]
            await asyncio.gather(*(stub.Segment(pb.SegmentRequest(image=RAW), metadata=meta(each)) for each in ids))

    with caplog.at_level(logging.INFO):
        in_door(tiny_bundle, work)
    requests = [record.__dict__["request"] for record in caplog.records if "request" in record.__dict__]
    assert sorted(request["request_id"] for request in requests) == wanted
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def meta(request_id: str) -> list[tuple[str, str]]:
    return [("x-request-id", request_id), ("x-more", "y" * 60)]
