"""The device's thread: outcomes in order, whatever is raised, and nothing kept alive while it waits."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from adaptseg_serve.device_thread import DeviceThread


def outcomes(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """What the loop is told of `items`, handed in at once."""
    told: list[Any] = []

    async def run() -> None:
        all_told = asyncio.Event()

        def done(outcome: Any) -> None:
            told.append(outcome)
            if len(told) == len(items):
                all_told.set()

        device = DeviceThread(asyncio.get_running_loop())
        for item in items:
            device.run(partial(work, item), done)
        await asyncio.wait_for(all_told.wait(), 10)
        device.close()

    asyncio.run(run())
    return told


def test_work_is_done_in_its_order_in_one_other_thread() -> None:
    threads = set[str]()

    def double(number: int) -> int:
        threads.add(threading.current_thread().name)
        return 2 * number

    assert outcomes(double, list(range(50))) == [2 * number for number in range(50)]
    assert threads == {"device"}


def test_whatever_is_raised_is_an_outcome_and_the_thread_goes_on() -> None:
    def fail(error: BaseException | str) -> str:
        if isinstance(error, BaseException):
            raise error
        return error

    told = outcomes(fail, [SystemExit(3), StopIteration(), "still here"])
    assert [type(outcome) for outcome in told] == [SystemExit, StopIteration, str]


def test_an_idle_thread_holds_neither_the_last_work_nor_its_outcome() -> None:
    class Pixels:
        pass

    async def run() -> list["weakref.ref[Pixels]"]:
        came, seen = asyncio.Event(), list[weakref.ref[Pixels]]()

        def work(pixels: Pixels) -> Pixels:
            answer = Pixels()
            seen.extend([weakref.ref(pixels), weakref.ref(answer)])
            return answer

        device = DeviceThread(asyncio.get_running_loop())
        device.run(partial(work, Pixels()), lambda _: came.set())
        await asyncio.wait_for(came.wait(), 10)
        await asyncio.sleep(0.1)
        gc.collect()
        alive = [pixels for pixels in seen if pixels() is not None]
        device.close()
        return alive

    assert asyncio.run(run()) == []


def test_work_that_ends_after_its_loop_ends_quietly() -> None:
    go_on = threading.Event()

    async def leave() -> DeviceThread:
        device = DeviceThread(asyncio.get_running_loop())
        device.run(lambda: go_on.wait(10), lambda _: None)
        return device

    device = asyncio.run(leave())
    go_on.set()
    device.close()
    assert not device._thread.is_alive()


def test_a_task_can_be_waited_for_and_what_it_raises_comes_out() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def run() -> None:
        device = DeviceThread(asyncio.get_running_loop())
        assert await device.wait_for(threading.get_ident) == device._thread.ident
        with pytest.raises(ValueError, match="no"):
            await device.wait_for(fail)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(device.wait_for(lambda: time.sleep(0.2)), 0.01)
        assert await device.wait_for(lambda: "still here") == "still here"
        device.end()
        await asyncio.to_thread(device._thread.join, 10)
        assert not device._thread.is_alive()

    asyncio.run(run())
