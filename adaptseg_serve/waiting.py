"""What waits for the device: one deque per (shape, dtype, scored), the one with the oldest head first."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored, Size

Key = tuple[tuple[int, ...], str, bool]


@dataclass(frozen=True)
class Answer:
    """One label map, and how long its image waited and its batch ran (seconds)."""

    label_map: LabelMap
    queue: float
    infer: float
    scored: Scored | None = None
    """The label map with its logits, where the item asked for them."""


@dataclass(eq=False)
class Item:
    """One image, and the future that its client awaits. Times are time.monotonic() seconds."""

    image: NDArray[np.uint8]
    size: Size
    arrived: float
    deadline: float | None
    future: "asyncio.Future[Answer]"
    scored: bool = False
    """Wants the logits, too. Such items have batches of their own: nobody else pays for the logits' way from a GPU."""
    beside: int = 0
    """Bytes that its request holds beside the image as long as it waits."""

    @cached_property
    def key(self) -> Key:
        return self.image.shape, self.image.dtype.str, self.scored

    def is_wanted(self, now: float) -> bool:
        """Does anybody still wait for the answer?"""
        return not self.future.done() and (self.deadline is None or now < self.deadline)

    def answer(self, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Waiting:
    """Items in the order they came, by key; knows their number and their bytes."""

    def __init__(self) -> None:
        self._queues: dict[Key, deque[Item]] = {}
        self.nbytes = 0
        self._items = 0

    def __len__(self) -> int:
        return self._items

    def __iter__(self) -> Iterator[Item]:
        for queue in self._queues.values():
            yield from queue

    def append(self, item: Item) -> None:
        self._queues.setdefault(item.key, deque()).append(item)
        self._count(item, 1)

    def remove(self, item: Item) -> bool:
        """Remove `item`; False where it no longer waits."""
        queue = self._queues.get(item.key)
        if not queue or item not in queue:
            return False
        queue.remove(item)
        self._count(item, -1)
        self._prune(item.key)
        return True

    def oldest(self) -> deque[Item]:
        """The deque whose head came first. There must be one."""
        return min(self._queues.values(), key=lambda queue: queue[0].arrived)

    def take(self, most: int) -> list[Item]:
        """The oldest item and those behind it of the same key, at most `most`; none where nothing waits."""
        if not self._items:
            return []
        queue = self.oldest()
        taken = [queue.popleft() for _ in range(min(most, len(queue)))]
        for item in taken:
            self._count(item, -1)
        self._prune(taken[0].key)
        return taken

    def _count(self, item: Item, sign: int) -> None:
        self._items += sign
        self.nbytes += sign * (item.image.nbytes + item.beside)

    def _prune(self, key: Key) -> None:
        if not self._queues[key]:
            del self._queues[key]
