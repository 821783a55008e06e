"""A call that its client or its deadline ends is counted, and told by the right name, whoever notices it first."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from helpers.doors import Door, PacedPredictor, until
from helpers.segmentation_calls import PNG, RAW, in_door

from adaptseg_serve import segmenter
from adaptseg_serve.grpc.errors import answering
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb


def counted(door: Door, reason: str) -> bool:
    name = f'adaptseg_inference_requests_total{{outcome="error",protocol="grpc",reason="{reason}"}} 1.0'
    return name in door.segmenter.metrics.exposition().decode()


def test_a_call_that_its_client_gives_up_is_counted(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()

    async def work(stub: Any, door: Door) -> None:
        predictor.gate.clear()
        call = stub.Segment(pb.SegmentRequest(image=RAW))
        await asyncio.wait_for(until(lambda: bool(predictor.batches)), 20)
        call.cancel()
        await asyncio.wait_for(until(lambda: counted(door, "client-closed")), 5)
        assert not counted(door, "deadline-exceeded")
        predictor.gate.set()

    in_door(tiny_bundle, work, predictor)


def test_a_call_past_its_deadline_is_counted_as_such(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    """gRPC's own timer and ours end such a call at the same moment: either may be first, hence several."""
    predictor = PacedPredictor()

    async def work(stub: Any, door: Door) -> None:
        predictor.gate.clear()
        for _ in range(8):
            call = stub.Segment(pb.SegmentRequest(image=RAW), timeout=0.05)
            assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        text = 'reason="deadline-exceeded"} 8.0'
        await asyncio.wait_for(until(lambda: text in door.segmenter.metrics.exposition().decode()), 5)
        assert 'reason="cancelled"} 0.0' in door.segmenter.metrics.exposition().decode()
        predictor.gate.set()

    with caplog.at_level(logging.INFO):
        in_door(tiny_bundle, work, predictor)
    lines = [r.__dict__.get("status") for r in caplog.records if r.__dict__.get("call", "").endswith("Segment")]
    assert "CANCELLED" not in lines


def test_a_deadline_while_decoding_is_no_clients_doing(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(segmenter, "decode_image", lambda *_: go_on.wait(20))

    async def work(stub: Any, door: Door) -> None:
        for _ in range(4):
            call = stub.Segment(pb.SegmentRequest(image=PNG), timeout=0.1)
            assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        text = 'adaptseg_frames_dropped_total{reason="deadline"} 4.0'
        await asyncio.wait_for(until(lambda: text in door.segmenter.metrics.exposition().decode()), 5)
        go_on.set()

    in_door(tiny_bundle, work, PacedPredictor())


class Ended:
    """The context of a call that gRPC has cancelled, `left` seconds before its deadline."""

    def __init__(self, left: float | None) -> None:
        self._left = left

    def time_remaining(self) -> float | None:
        return self._left


@pytest.mark.parametrize(
    ("left", "reason"), [(0.0, "deadline-exceeded"), (0.5, "client-closed"), (None, "client-closed")]
)
def test_a_cancelled_call_is_the_deadlines_or_the_clients(tiny_bundle: Path, left: float | None, reason: str) -> None:
    async def work(stub: Any, door: Door) -> None:
        with pytest.raises(asyncio.CancelledError):
            async with answering(Ended(left), door.segmenter):
                raise asyncio.CancelledError
        assert counted(door, reason)

    in_door(tiny_bundle, work)
