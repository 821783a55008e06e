"""What is done later is done together, in its order, and never lost; and whoever asks sees all of it."""

import asyncio
import logging
import time

import pytest

from adaptseg_serve.later import Later
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.record import Identity, Recording, write


def test_calls_are_done_together_in_their_order() -> None:
    later, done = Later(), list[str]()

    async def serve() -> None:
        later(done.append, "a")
        later(done.append, "b")
        await asyncio.sleep(0)
        assert done == []
        await asyncio.sleep(3 * later.DELAY)
        assert done == ["a", "b"]
        later(done.append, "c")
        await asyncio.sleep(3 * later.DELAY)

    asyncio.run(serve())
    assert done == ["a", "b", "c"]


def test_what_waits_is_done_when_it_is_asked_for() -> None:
    later, done = Later(), list[str]()
    asyncio.run(_leave(later, done, "a"))
    assert done == []
    later.flush()
    assert done == ["a"]


def test_it_is_done_soon_when_nobody_waits_for_an_answer() -> None:
    later, done = Later(), list[str]()

    async def serve() -> None:
        later.soon()  # There is nothing to do.
        later(done.append, "a")
        later.soon()
        assert done == [], "the answer leaves first"
        later(done.append, "b")
        later.soon()
        await asyncio.sleep(0)
        assert done == ["a", "b"]
        later(done.append, "c")
        await asyncio.sleep(3 * later.DELAY)

    asyncio.run(serve())
    assert done == ["a", "b", "c"], "and the next ones have a timer of their own again"


def test_without_an_event_loop_it_is_done_at_once() -> None:
    later, done = Later(), list[str]()
    asyncio.run(_leave(later, done, "a"))  # The loop ends before the delay: nothing would ever do it.
    later(done.append, "b")
    assert done == ["a", "b"]


def test_what_an_ended_loop_left_is_done_by_the_next() -> None:
    later, done = Later(), list[str]()
    asyncio.run(_leave(later, done, "a"))

    async def next_loop() -> None:
        later(done.append, "b")
        await asyncio.sleep(3 * later.DELAY)

    asyncio.run(next_loop())
    assert done == ["a", "b"]


def test_a_call_made_meanwhile_waits_for_its_own_turn() -> None:
    later, done = Later(), list[str]()

    async def serve() -> None:
        later(later, done.append, "a")
        await asyncio.sleep(5 * later.DELAY)

    asyncio.run(serve())
    assert done == ["a"]


async def _leave(later: Later, done: list[str], what: str) -> None:
    later(done.append, what)


def test_a_line_has_the_time_of_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    later = Later()
    asyncio.run(_record(later))
    answered = time.time()
    time.sleep(0.1)
    later.flush()
    (line,) = [line for line in caplog.records if line.name == "adaptseg_serve.record"]
    assert answered - 0.05 < line.created <= answered


async def _record(later: Later) -> None:
    with Recording("grpc", "a", lambda: Identity("", {}), lambda record: later(write, record)) as record:
        record.status = "OK"


def test_whoever_asks_for_the_metrics_sees_what_was_just_counted() -> None:
    metrics = Metrics()

    async def serve() -> str:
        metrics.request("grpc", "ok")
        metrics.stage("decode", 0.001)
        metrics.image(0.001, 0.0, 0.003)
        metrics.batch(2)
        for depth in (1, 2, 3):
            metrics.depth(depth)
        return metrics.exposition().decode()

    said = asyncio.run(serve())
    assert 'adaptseg_inference_requests_total{outcome="ok",protocol="grpc",reason=""} 1.0' in said
    assert "adaptseg_infer_duration_seconds_count 1.0" in said
    assert "adaptseg_infer_duration_seconds_sum 0.003" in said
    assert "adaptseg_decode_duration_seconds_count 1.0" in said
    assert "adaptseg_image_duration_seconds_sum 0.004" in said
    assert "adaptseg_batch_size_sum 2.0" in said
    assert "adaptseg_queue_depth 3.0" in said


def test_the_queues_depth_is_that_of_now_once_it_has_settled() -> None:
    metrics = Metrics()

    async def serve() -> None:
        metrics.depth(5)
        await asyncio.sleep(0.1)
        metrics.depth(0)
        await asyncio.sleep(0.1)

    asyncio.run(serve())
    assert metrics.registry.get_sample_value("adaptseg_queue_depth") == 0
