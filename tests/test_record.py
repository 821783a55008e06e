"""Records that are written later: together, and never lost."""

import asyncio
import logging
import time

import pytest

from adaptseg_serve.record import WriteLater, recording


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if line.name == "adaptseg_serve.record"]


def finish(call: str, later: WriteLater) -> None:
    with recording("grpc", call, "", {}, later) as record:
        record.status = "OK"


def test_records_are_written_together_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    later = WriteLater()

    async def serve() -> None:
        finish("a", later)
        finish("b", later)
        await asyncio.sleep(0)
        assert lines(caplog) == []
        await asyncio.sleep(3 * later.DELAY)
        assert lines(caplog) == ["a OK", "b OK"]
        finish("c", later)
        await asyncio.sleep(3 * later.DELAY)

    asyncio.run(serve())
    assert lines(caplog) == ["a OK", "b OK", "c OK"]


def test_what_waits_is_written_when_the_server_stops(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    later = WriteLater()
    asyncio.run(_leave("a", later))
    later.flush()
    assert lines(caplog) == ["a OK"]


def test_a_stream_that_is_closed_after_its_loop_is_written_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    later = WriteLater()
    asyncio.run(_leave("a", later))  # The loop ends before the delay: nothing would ever write it.
    finish("b", later)
    assert lines(caplog) == ["a OK", "b OK"]


async def _leave(call: str, later: WriteLater) -> None:
    finish(call, later)


def test_a_line_has_the_time_of_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    later = WriteLater()
    asyncio.run(_leave("a", later))
    answered = time.time()
    time.sleep(0.1)
    later.flush()
    (line,) = [line for line in caplog.records if line.name == "adaptseg_serve.record"]
    assert answered - 0.05 < line.created <= answered
