"""The micro-batcher: a full queue, cancelled and late requests, and closing."""

import asyncio
import time

import pytest
from helpers.device import Device, batched, image

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.errors import Busy, DeadlineExceeded
from adaptseg_serve.waiting import Answer


def test_a_full_queue_is_busy_by_items_and_by_bytes() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        device.gate.clear()
        calls = [asyncio.create_task(batcher.submit(image(0), (1, 1)))]
        await asyncio.sleep(0.01)
        calls += [asyncio.create_task(batcher.submit(image(v), (1, 1))) for v in (1, 2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy, match="queue is full") as caught:
            await batcher.submit(image(3), (1, 1))
        assert caught.value.retry_after >= 1
        device.gate.set()
        await asyncio.gather(*calls)

    batched(device, body, max_items=2)
    batched(device, body, max_bytes=2 * image(0).nbytes)
    assert [3] not in device.batches


def test_what_a_request_holds_beside_its_image_counts_as_long_as_it_waits() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        device.gate.clear()
        calls = [asyncio.create_task(batcher.submit(image(0), (1, 1)))]
        await asyncio.sleep(0.01)
        calls.append(asyncio.create_task(batcher.submit(image(1), (1, 1), beside=900)))
        await asyncio.sleep(0.01)
        with pytest.raises(Busy, match="queue is full"):
            await batcher.submit(image(2), (1, 1), beside=900)
        device.gate.set()
        await asyncio.gather(*calls)
        await batcher.submit(image(3), (1, 1), beside=900)

    batched(device, body, max_bytes=1000)
    assert [2] not in device.batches


def test_a_cancelled_request_leaves_the_queue_and_never_runs() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        device.gate.clear()
        running = asyncio.create_task(batcher.submit(image(0), (1, 1)))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(batcher.submit(image(1), (1, 1)))
        await asyncio.sleep(0.01)
        assert batcher.depth == 1
        waiting.cancel()
        await asyncio.wait([waiting])
        assert batcher.depth == 0
        device.gate.set()
        await running

    batched(device, body)
    assert device.batches == [[0]]


def test_a_deadline_is_kept_to_while_waiting_and_while_running() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        device.gate.clear()
        started = time.monotonic()
        calls = [batcher.submit(image(v), (1, 1), started + 0.05) for v in range(6)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert 0.04 < time.monotonic() - started < 0.5
        assert {type(a) for a in answers} == {DeadlineExceeded}
        assert batcher.depth == 0

    batched(device, body)
    assert device.batches == [[0, 1, 2, 3]]


def test_a_deadline_in_the_past_never_queues() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(image(0), (1, 1), time.monotonic() - 1)

    batched(device, body)
    assert device.batches == []


def test_closing_finishes_what_is_here_and_refuses_what_comes() -> None:
    device = Device(0.02)

    async def body(batcher: Batcher) -> None:
        calls = [asyncio.create_task(batcher.submit(image(v), (1, 1))) for v in range(6)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(batcher.close(5))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="shutting down"):
            await batcher.submit(image(9), (1, 1))
        assert [int(a.label_map[0, 0]) for a in await asyncio.gather(*calls)] == list(range(6))
        await closing

    batched(device, body)


def test_closing_gives_up_on_what_still_waits_after_the_grace() -> None:
    device = Device(0.2)

    async def body(batcher: Batcher) -> None:
        calls = [asyncio.create_task(batcher.submit(image(v), (1, 1))) for v in range(3)]
        await asyncio.sleep(0.05)
        await batcher.close(0.01)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(a) for a in answers] == [Answer, Busy, Busy]

    batched(device, body, max_batch=1)
    assert device.batches == [[0]]
