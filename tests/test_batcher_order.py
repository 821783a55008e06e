"""The micro-batcher: what goes together, what goes first, and how long an idle device waits."""

import asyncio

from helpers.device import Device, batched, image

from adaptseg_serve.batcher import Batcher


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
        await asyncio.sleep(0.01)
        for value, height in ((1, 3), (2, 2), (3, 3), (4, 2)):
            calls.append(asyncio.create_task(batcher.submit(image(value, height), (1, 1))))
            await asyncio.sleep(0.001)
        device.gate.set()
        await asyncio.gather(*calls)

    batched(device, body)
    assert device.batches == [[0], [1, 3], [2, 4]]


def test_an_idle_device_never_waits_for_company() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        answer = await batcher.submit(image(1), (1, 1))
        assert answer.queue < 0.05

    batched(device, body)


def test_with_a_delay_an_idle_device_waits_for_company_and_no_longer() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.submit(image(1), (1, 1)))
        await asyncio.sleep(0.02)
        answers = await asyncio.gather(first, batcher.submit(image(2), (1, 1)))
        assert 0.09 < answers[0].queue < 0.3

    batched(device, body, max_delay=0.1)
    assert device.batches == [[1, 2]]
