"""The micro-batcher: every accepted request gets exactly one answer, its own."""

import asyncio
import contextvars
import time
from dataclasses import dataclass

import pytest
from helpers.device import POISON, Device, batched, image
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.errors import Busy, DeadlineExceeded
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.waiting import Answer, Item


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


def test_only_the_bad_item_of_a_batch_fails() -> None:
    device = Device()

    async def body(batcher: Batcher) -> None:
        calls = [batcher.submit(image(v), (1, 1)) for v in (1, POISON, 3)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(a) for a in answers] == [Answer, ValueError, Answer]

    batched(device, body)
    assert device.batches == [[1, POISON, 3], [1], [POISON], [3]]


def test_a_predictor_that_loses_an_answer_fails_its_batch_and_not_the_batcher() -> None:
    async def main() -> None:
        batcher = Batcher(lambda images, sizes: [], max_batch=2, max_items=9, max_bytes=999)
        with pytest.raises(RuntimeError, match="0 label maps for 1"):
            await batcher.submit(image(0), (1, 1))
        await batcher.close(5)

    asyncio.run(main())


def test_work_runs_in_nobodys_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    class Spy(Batcher):
        def _run_batch(self, batch: list[Item]) -> None:
            seen.append(name.get())
            super()._run_batch(batch)

    async def main() -> None:
        name.set("the first client")
        batcher = Spy(Device().run, max_batch=1, max_items=9, max_bytes=999)
        await asyncio.gather(*(batcher.submit(image(i), (1, 1)) for i in range(3)))
        await batcher.close(5)

    asyncio.run(main())
    assert seen == ["nobody"] * 3


@pytest.mark.parametrize("raised", [StopIteration("no more"), SystemExit(3)])
def test_whatever_a_predictor_raises_is_an_answer(raised: BaseException) -> None:
    def run(images: object, sizes: object) -> list[LabelMap]:
        raise raised

    async def main() -> None:
        batcher = Batcher(run, max_batch=2, max_items=9, max_bytes=999)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=type(raised).__name__):
                await asyncio.wait_for(batcher.submit(image(0), (1, 1)), 5)
        await batcher.close(5)

    asyncio.run(main())
