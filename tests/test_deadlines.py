"""One timer for many deadlines: each is kept, whatever comes and goes before it."""

import asyncio
import time
import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adaptseg_serve.deadlines import Deadlines


@dataclass(eq=False)
class Call:
    deadline: float | None
    expired: float = 0.0

    def expire(self) -> None:
        self.expired = time.monotonic()


def with_deadlines(work: Callable[[Deadlines[Call]], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        deadlines = Deadlines[Call](asyncio.get_running_loop(), Call.expire)
        await work(deadlines)
        deadlines.close()

    asyncio.run(main())


MILLISECONDS = st.integers(-1, 20)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(MILLISECONDS | st.none(), MILLISECONDS | st.none()), max_size=12))
def test_who_is_not_done_by_its_deadline_hears_of_it_and_nobody_else(
    calls: list[tuple[int | None, int | None]],
) -> None:
    """`calls`: after how many milliseconds each has its deadline, and is done."""

    async def work(deadlines: Deadlines[Call]) -> None:
        now = time.monotonic()
        under_way, done_at = list[Call](), dict[Call, float]()

        def done(call: Call) -> None:
            deadlines.done(call)
            done_at[call] = time.monotonic()

        for deadline, end in calls:
            under_way.append(Call(None if deadline is None else now + deadline / 1000))
            deadlines.add(under_way[-1])
            if end is not None:
                asyncio.get_running_loop().call_later(end / 1000, done, under_way[-1])
        await asyncio.sleep(0.03)
        for call, (deadline, end) in zip(under_way, calls, strict=True):
            if call.expired:
                assert call.deadline is not None
                assert call.expired >= call.deadline
                assert call not in done_at or call.expired <= done_at[call]
            else:
                assert deadline is None or (end is not None and end <= deadline)

    with_deadlines(work)


def test_an_earlier_one_that_comes_later_is_kept() -> None:
    async def work(deadlines: Deadlines[Call]) -> None:
        late, soon = Call(time.monotonic() + 60), Call(time.monotonic() + 0.02)
        deadlines.add(late)
        deadlines.add(soon)
        await asyncio.sleep(0.1)
        assert soon.expired
        assert not late.expired

    with_deadlines(work)


def test_it_keeps_neither_what_is_done_nor_the_context_of_whoever_came_first() -> None:
    class Request:
        pass

    request: ContextVar[Request] = ContextVar("request")

    async def ask(deadlines: Deadlines[Call]) -> list["weakref.ref[Any]"]:
        whose, call = Request(), Call(time.monotonic() + 60)
        request.set(whose)
        deadlines.add(call)
        deadlines.done(call)
        return [weakref.ref(whose), weakref.ref(call)]

    async def work(deadlines: Deadlines[Call]) -> None:
        kept = await asyncio.create_task(ask(deadlines))
        await asyncio.sleep(0)
        assert [each() for each in kept] == [None, None]

    with_deadlines(work)


def test_answers_in_time_make_no_timers() -> None:
    async def work(deadlines: Deadlines[Call]) -> None:
        loop, made = asyncio.get_running_loop(), list[float]()
        real = loop.call_later

        def counted(delay: float, *rest: Any, **options: Any) -> asyncio.TimerHandle:
            made.append(delay)
            return real(delay, *rest, **options)

        loop.call_later = counted  # type: ignore[assignment]  # a plain function in its place
        for _ in range(100):
            call = Call(time.monotonic() + 60)
            deadlines.add(call)
            deadlines.done(call)
        assert len(made) == 1

    with_deadlines(work)
