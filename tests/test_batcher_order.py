"""The micro-batcher: what goes together, what goes first, and how long an idle device waits."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from helpers.device import Device, batched, image
from helpers.doors import until

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.later import Later


def test_what_arrives_while_the_device_is_busy_goes_in_one_batch() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        device.gate.clear()
        calls = [asyncio.create_task(batcher.submit(image(v), (1, 1))) for v in range(6)]
        await asyncio.sleep(0.02)
        device.gate.set()
        await asyncio.gather(*calls)

    batched(device, body)
    # The six arrive in one tick of the loop, so the first four already go together.
    assert device.batches == [[0, 1, 2, 3], [4, 5]]


def test_the_oldest_head_goes_first_whatever_its_shape() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        device.gate.clear()
        calls = [asyncio.create_task(batcher.submit(image(0), (1, 1)))]
        await until(lambda: bool(device.running))
        for value, height in ((1, 3), (2, 2), (3, 3), (4, 2)):
            calls.append(asyncio.create_task(batcher.submit(image(value, height), (1, 1))))
            await until(partial(lambda depth: batcher.depth == depth, value))
        device.gate.set()
        await asyncio.gather(*calls)

    batched(device, body)
    assert device.batches == [[0], [1, 3], [2, 4]]


def test_an_idle_device_never_waits_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing sets a timer of the event loop, but for what is counted later."""
    timers: list[str] = []

    async def body(batcher: Batcher) -> None:
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def noted(when: float, callback: Callable[..., object], *more: Any, **others: Any) -> asyncio.TimerHandle:
            timers.append(callback.__qualname__)
            return call_at(when, callback, *more, **others)

        with monkeypatch.context() as patched:
            patched.setattr(loop, "call_at", noted)
            await batcher.submit(image(1), (1, 1))

    batched(Device(), body)
    assert set(timers) <= {Later.flush.__qualname__}


def test_with_a_delay_an_idle_device_waits_for_company_and_no_longer() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.submit(image(1), (1, 1)))
        await until(lambda: batcher.depth == 1)
        answers = await asyncio.gather(first, batcher.submit(image(2), (1, 1)))
        assert 0.49 < answers[0].queue < 10

    batched(device, body, max_delay=0.5)
    assert device.batches == [[1, 2]]
