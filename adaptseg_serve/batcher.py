"""The micro-batcher: many requests in, few runs of the network out. Plain asyncio, callbacks only: each task or event
between an image and its answer would be one more round of the loop.

One deque per (shape, dtype, logits wanted); the deque with the oldest head goes first. The device never idles while
work waits, unless `max_delay` asks it to wait for company. Work that nobody waits for any more (cancelled, or past
its deadline) leaves the queue at once. A batch that fails is run again one by one, so that a bad item fails alone.
"""

import asyncio
import contextlib
import contextvars
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.deadlines import Deadlines
from adaptseg_serve.device_thread import DeviceThread
from adaptseg_serve.errors import Busy, DeadlineExceeded
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.predictor import Scored, Size
from adaptseg_serve.waiting import Answer, Item, Waiting

Run = Callable[[NDArray[np.uint8], Sequence[Size]], list[LabelMap]]
"""`Predictor.predict`: (N, H, W, 3) uint8 and N sizes -> N label maps."""
RunScored = Callable[[NDArray[np.uint8], Sequence[Size]], list[Scored]]
"""`Predictor.predict_scored`."""

BROKEN_AFTER = 10
"""Images one after the other that the device failed on, each alone."""

Result = tuple[LabelMap, Scored | None]


class Batcher:
    """Runs images on one device, in batches. Create it and call every method in the event loop's thread."""

    def __init__(
        self,
        run: Run,
        *,
        max_batch: int,
        max_items: int,
        max_bytes: int,
        max_delay: float = 0.0,
        metrics: Metrics | None = None,
        run_scored: RunScored | None = None,
        device: DeviceThread | None = None,
    ) -> None:
        """device: what `run` runs in, closed with the batcher; None: a thread of its own."""
        self._run, self._run_scored = run, run_scored
        self._max_batch, self._max_items, self._max_bytes, self._max_delay = max_batch, max_items, max_bytes, max_delay
        self._metrics = metrics or Metrics()
        self._waiting = Waiting()
        self._pace = 0.0
        self._closing = self._hurried = False
        self._loop = asyncio.get_running_loop()
        self._device = device or DeviceThread(self._loop)
        self._deadlines = Deadlines[Item](self._loop, self._expire)
        self._nobodys = contextvars.Context()
        """A batch must not start in the context (request id, trace) of whoever came first."""
        self._begin: asyncio.Handle | None = None
        """The next look at what waits, where one is due."""
        self._for_company = False
        """Is that look put off, in case others come?"""
        self._running: list[Item] | None = None
        """What the device works on."""
        self._started = 0.0
        """When it began to, in time.monotonic() seconds."""
        self._alone = deque[Item]()
        """Of a batch that failed: what runs again by itself, before anything else."""
        self._finished = asyncio.Event()
        self._failures = 0

    @property
    def broken(self) -> bool:
        """Did every one of the last BROKEN_AFTER runs of single images fail?"""
        return self._failures >= BROKEN_AFTER

    @property
    def depth(self) -> int:
        """Images that wait; those that run are not counted."""
        return len(self._waiting)

    def check_room(self, items: int = 1, nbytes: int = 0) -> None:
        """Raise Busy unless `items` more images of `nbytes` in all may wait."""
        if self._closing:
            self._metrics.dropped("busy")
            raise Busy("The service is shutting down. Send the request to another replica, or again later.", 5.0)
        if self.depth + items > self._max_items or self._waiting.nbytes + nbytes > self._max_bytes:
            self._metrics.dropped("busy")
            raise Busy(
                f"The queue is full ({self.depth + items - 1} images wait). Try again after the time in Retry-After, "
                "send fewer requests at once, or raise ADAPTSEG_QUEUE_DEPTH.",
                self.retry_after,
            )

    @property
    def retry_after(self) -> float:
        """Seconds in which the queue should be empty, by the pace of late; at least 1."""
        batches = math.ceil(self.depth / self._max_batch) + 1
        return max(1.0, batches * self._pace)

    async def submit(
        self,
        image: NDArray[np.uint8],
        size: Size,
        deadline: float | None = None,
        scored: bool = False,
        beside: int = 0,
    ) -> Answer:
        """Label map of `image` ((H, W, 3) uint8) at `size`.

        deadline: time.monotonic() seconds; DeadlineExceeded is raised then, whether the image waits or runs.
        scored: the answer has the logits, too.
        beside: bytes that the caller holds beside the image until then; they count against `max_bytes`.
        Raises Busy at once where the queue is full. Cancelling the call drops an image that still waits.
        """
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            self._metrics.dropped("deadline")
            raise DeadlineExceeded("The request's deadline passed before it could be queued. Allow it more time.")
        self.check_room(1, image.nbytes + beside)
        item = Item(image, size, now, deadline, self._loop.create_future(), scored, beside)
        self._waiting.append(item)
        self._metrics.depth(self.depth)
        self._rouse()
        self._deadlines.add(item)
        try:
            return await item.future
        except asyncio.CancelledError:
            late = deadline is not None and deadline <= time.monotonic()  # gRPC cancels a call that is.
            self._forget(item, "deadline" if late else "cancelled")
            raise
        finally:
            self._deadlines.done(item)
            del item  # Else its future, that one's error and this frame hold each other: see errors.py.

    def hurry(self) -> None:
        """Let nothing wait for company from now on."""
        self._hurried = True
        self._rouse()

    async def close(self, grace: float = 0.0) -> None:
        """Accept nothing more, finish what waits and runs, but give up on what still waits after `grace` seconds."""
        self._closing = True
        self.hurry()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finished.wait(), grace)
        self._give_up()
        await self._finished.wait()
        self._deadlines.close()
        self._device.close()

    def _give_up(self) -> None:
        while items := self._waiting.take(self._max_batch):
            for item in items:
                item.fail(Busy("The service shut down before this request's turn. Try again.", 5.0))
        self._metrics.depth(0)

    def _expire(self, item: Item) -> None:
        self._forget(item, "deadline")
        item.fail(DeadlineExceeded("The request's deadline passed before its answer. Allow it more time."))

    def _forget(self, item: Item, reason: Literal["deadline", "cancelled"]) -> None:
        """Drop `item` if it still waits; what runs or is done is past that."""
        if self._waiting.remove(item):
            self._metrics.depth(self.depth)
            self._metrics.dropped(reason)

    def _rouse(self) -> None:
        """Start the next batch, if one can start, once everything that is ready now has had its turn: it may join."""
        if self._running is not None:
            return
        if self._begin is not None and self._for_company:  # It may be there now.
            self._begin.cancel()
            self._begin = None
        if self._begin is None:
            self._for_company = False
            self._begin = self._loop.call_soon(self._start, context=self._nobodys)

    def _start(self) -> None:
        """Hand the device its next batch: one item of a failed batch, or what has waited longest and its like."""
        self._begin = None
        while self._running is None and (self._alone or self._waiting):
            left = 0.0 if self._alone else self._company()
            if left > 0:
                self._for_company = True
                self._begin = self._loop.call_later(left, self._start, context=self._nobodys)
                return
            if batch := self._take_alone() if self._alone else self._take():
                self._run_batch(batch)
        if self._closing and self._running is None:
            self._finished.set()

    def _company(self) -> float:
        """Seconds that the oldest image still waits for company; none without a `max_delay`, nor for a full batch."""
        if not self._max_delay or self._hurried:
            return 0.0
        queue = self._waiting.oldest()
        return 0.0 if len(queue) >= self._max_batch else queue[0].arrived + self._max_delay - time.monotonic()

    def _take(self) -> list[Item]:
        """The next batch, without what nobody waits for; all may have been cancelled meanwhile."""
        now, taken = time.monotonic(), self._waiting.take(self._max_batch)
        self._metrics.depth(self.depth)
        wanted = [item for item in taken if item.is_wanted(now)]
        if len(wanted) < len(taken):
            for item in taken:
                if item not in wanted:
                    self._metrics.dropped("cancelled" if item.future.cancelled() else "deadline")
        return wanted

    def _take_alone(self) -> list[Item]:
        item = self._alone.popleft()
        return [item] if item.is_wanted(time.monotonic()) else []

    def _run_batch(self, batch: list[Item]) -> None:
        self._metrics.batch(len(batch))
        self._running, self._started = batch, time.monotonic()
        self._device.run(partial(self._predict, batch), self._done)

    def _done(self, outcome: list[Result] | BaseException) -> None:
        """Answer each item of the batch that ran; if it failed, its items run alone."""
        batch, self._running = self._running or [], None
        was_broken = self.broken
        started, now = self._started, time.monotonic()
        if not isinstance(outcome, BaseException):
            self._pace, self._failures = now - started, 0
            for item, (label_map, scored) in zip(batch, outcome, strict=True):
                item.answer(Answer(label_map, started - item.arrived, now - started, scored))
        elif len(batch) == 1:
            self._failures += 1
            batch[0].fail(_raisable(outcome))
        else:
            self._alone.extend(batch)
        if self.broken != was_broken:
            self._metrics.broken(self.broken)
        self._start()

    def _predict(self, batch: list[Item]) -> list[Result]:
        """In the device's thread. Items of a batch have one key: all of them want the logits, or none."""
        sizes = [item.size for item in batch]
        images = batch[0].image[None] if len(batch) == 1 else np.stack([item.image for item in batch])
        results: list[Result]
        if batch[0].scored and self._run_scored is not None:
            results = [(scored.label_map, scored) for scored in self._run_scored(images, sizes)]
        else:
            results = [(label_map, None) for label_map in self._run(images, sizes)]
        if len(results) != len(batch):
            raise RuntimeError(f"the predictor gave {len(results)} label maps for {len(batch)} images")
        return results


def _raisable(error: BaseException) -> Exception:
    """What a future can hold: neither StopIteration nor what would end the event loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"the predictor raised {error!r}")
