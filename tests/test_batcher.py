"""The micro-batcher: every accepted request gets exactly one answer, its own."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.errors import Busy, DeadlineExceeded
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Size
from adaptseg_serve.waiting import Answer

POISON = 255


class Device:
    """Stands in for a predictor: a label map is filled with its image's first value, and POISON fails its batch."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.running = 0
        self.gate = threading.Event()
        self.gate.set()

    def run(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        self.running += 1
        assert self.running == 1, "two batches at once on one device"
        self.gate.wait(5)
        values = [int(image[0, 0, 0]) for image in images]
        self.batches.append(values)
        time.sleep(self.seconds)
        self.running -= 1
        if POISON in values:
            raise ValueError("a bad item")
        return [np.full(size, value, np.uint8) for size, value in zip(sizes, values, strict=True)]


def image(value: int, height: int = 2) -> NDArray[np.uint8]:
    return np.full((height, 2, 3), value, np.uint8)


def batched(
    device: Device,
    body: Callable[[Batcher], Awaitable[None]],
    max_batch: int = 4,
    max_items: int = 100,
    max_bytes: int = 1 << 30,
    max_delay: float = 0.0,
) -> None:
    """Run `body` with a batcher on `device`, and close it in good order."""

    async def main() -> None:
        batcher = Batcher(
            device.run,
            max_batch=max_batch,
            max_items=max_items,
            max_bytes=max_bytes,
            max_delay=max_delay,
        )
        try:
            await body(batcher)
        finally:
            device.gate.set()
            await batcher.close(5)
        assert batcher.depth == 0

    asyncio.run(main())


@dataclass(frozen=True)
class Arrival:
    """One client: when it comes, what it sends, and when it gives up or is cut off (milliseconds; None: never)."""

    after: int
    height: int
    poisoned: bool
    deadline: int | None
    cancelled: int | None


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        after=st.integers(0, 6),
        height=st.sampled_from([2, 3]),
        poisoned=st.sampled_from([False] * 5 + [True]),
        deadline=st.none() | st.integers(-1, 8),
        cancelled=st.none() | st.integers(0, 8),
    ),
    min_size=1,
    max_size=24,
)


@settings(deadline=None, max_examples=60)
@given(ARRIVALS, st.integers(1, 5), st.integers(1, 12), st.integers(0, 2), st.sampled_from([0.0, 0.002]))
def test_every_request_gets_one_answer_its_own(
    arrivals: list[Arrival], max_batch: int, max_items: int, milliseconds: int, max_delay: float
) -> None:
    device = Device(milliseconds / 1000)

    async def client(batcher: Batcher, value: int, arrival: Arrival) -> str:
        await asyncio.sleep(arrival.after / 1000)
        size = (value + 1, 2)
        deadline = None if arrival.deadline is None else time.monotonic() + arrival.deadline / 1000
        sent = image(POISON if arrival.poisoned else value, arrival.height)
        call = asyncio.create_task(batcher.submit(sent, size, deadline))
        if arrival.cancelled is not None:
            asyncio.get_running_loop().call_later(arrival.cancelled / 1000, call.cancel)
        try:
            answer = await call
        except asyncio.CancelledError:
            assert arrival.cancelled is not None
            return "cancelled"
        except DeadlineExceeded:
            assert arrival.deadline is not None
            return "expired"
        except Busy:
            return "busy"
        except ValueError:
            assert arrival.poisoned
            return "failed"
        assert not arrival.poisoned
        assert answer.label_map.shape == size
        assert (answer.label_map == value).all()
        return "answered"

    async def body(batcher: Batcher) -> None:
        clients = [client(batcher, value, arrival) for value, arrival in enumerate(arrivals)]
        outcomes = await asyncio.wait_for(asyncio.gather(*clients), 10)
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            patient = arrival.deadline is None and arrival.cancelled is None
            assert not patient or outcome in ("answered", "failed", "busy")
        alone = [batch for batch in device.batches if len(batch) == 1]
        assert all(batch.count(v) <= 1 for batch in device.batches for v in batch if v != POISON)
        assert sum(outcome == "failed" for outcome in outcomes) <= alone.count([POISON])

    batched(device, body, max_batch, max_items, max_delay=max_delay)
    assert max(map(len, device.batches), default=0) <= max_batch


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


def test_only_the_bad_item_of_a_batch_fails() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        calls = [batcher.submit(image(v), (1, 1)) for v in (1, POISON, 3)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(a) for a in answers] == [Answer, ValueError, Answer]

    batched(device, body)
    assert device.batches == [[1, POISON, 3], [1], [POISON], [3]]


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


def test_work_runs_in_nobodys_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    class Spy(Batcher):
        async def _serve(self, batch: object) -> None:  # type: ignore[override]
            seen.append(name.get())
            await super()._serve(batch)  # type: ignore[arg-type]

    async def main() -> None:
        name.set("the first client")
        batcher = Spy(Device().run, max_batch=1, max_items=9, max_bytes=999)
        await batcher.submit(image(0), (1, 1))
        await batcher.close(5)

    asyncio.run(main())
    assert seen == ["nobody"]


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


def test_a_predictor_that_loses_an_answer_fails_its_batch_and_not_the_batcher() -> None:
    async def main() -> None:
        batcher = Batcher(lambda images, sizes: [], max_batch=2, max_items=9, max_bytes=999)
        with pytest.raises(RuntimeError, match="0 label maps for 1"):
            await batcher.submit(image(0), (1, 1))
        await batcher.close(5)

    asyncio.run(main())
