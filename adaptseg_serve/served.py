"""A bundle at work: what a request holds on to from its admission to its answer, whatever comes after the bundle."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from adaptseg_serve.batcher import Batcher
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.predictor import Predictor


class Served:
    """One bundle with its predictor and its batcher. Every method is called in the event loop's thread."""

    def __init__(self, bundle: Bundle, predictor: Predictor, batcher: Batcher) -> None:
        self.bundle, self.predictor, self.batcher = bundle, predictor, batcher
        self._decoding = 0
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def __enter__(self) -> Self:
        """While a request has it, `finish` waits."""
        self._users += 1
        self._unused.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self._unused.set()

    def check_room(self) -> None:
        """Raise Busy unless one more image may come, those counted that are being decoded."""
        self.batcher.check_room(self._decoding + 1)

    @contextmanager
    def decoding_slot(self) -> Iterator[None]:
        """Images that are being decoded count as if they waited already: what is decoded finds room."""
        self.check_room()
        self._decoding += 1
        try:
            yield
        finally:
            self._decoding -= 1

    async def finish(self, grace: float | None = None) -> None:
        """Wait until nobody uses it any more, then end its thread; what still waits after `grace` seconds is given up.

        Without a `grace` every request has its deadline: this ends. With one nobody comes any more, and nothing waits
        for company. It may be called more than once.
        """
        if grace is not None:
            self.batcher.hurry()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._unused.wait(), grace)
        await self.batcher.close()
