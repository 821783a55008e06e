"""Leaving in good order, as the segmenter does it: what was admitted is answered, whatever state it is in."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.doors import until
from helpers.segmenters import FRAME, Slow, png, with_segmenter
from numpy.typing import NDArray

from adaptseg_serve import segmenter as segmenter_module
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import Busy
from adaptseg_serve.images import decode_image
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Size
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings


def test_it_is_ready_after_warm_up_and_not_while_draining(tiny_bundle: Path) -> None:
    async def main() -> None:
        segmenter = Segmenter(open_bundle(tiny_bundle))
        assert not segmenter.ready
        with pytest.raises(Busy, match="still loading"):
            await segmenter.segment(FRAME)
        await segmenter.start()
        assert segmenter.ready
        assert segmenter.runtime == "onnxruntime-cpu"
        heard: list[bool] = []
        segmenter.on_drain.append(lambda: heard.append(segmenter.ready))
        segmenter.drain()
        segmenter.drain()
        assert heard == [False]
        with pytest.raises(Busy, match="shutting down"):
            await segmenter.segment(FRAME)
        await segmenter.close()

    asyncio.run(main())


def test_draining_lets_running_work_finish(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        call = asyncio.create_task(segmenter.segment(FRAME))
        await asyncio.sleep(0.05)
        await segmenter.finish(5)
        assert (await call).label_map.shape == (70, 90)

    with_segmenter(tiny_bundle, body, Slow(0.2))


def test_draining_waits_for_what_is_being_decoded(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, go_on = threading.Event(), threading.Event()

    def slowly(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        decoding.set()
        go_on.wait(10)
        return decode_image(data, max_pixels)

    monkeypatch.setattr(segmenter_module, "decode_image", slowly)

    async def body(segmenter: Segmenter) -> None:
        call = asyncio.create_task(segmenter.segment_encoded(png(FRAME)))
        await asyncio.to_thread(decoding.wait, 10)
        finishing = asyncio.create_task(segmenter.finish(10))
        await asyncio.sleep(0.05)
        assert not finishing.done()
        go_on.set()
        await finishing
        assert (await call).label_map.shape == (70, 90)

    with_segmenter(tiny_bundle, body, Slow(0.0))


class Gated(Slow):
    """Its first real run begins, and goes on when it may; no other waits."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        if self.runs == 0 and not self.begun.is_set():
            self.begun.set()
            self.go_on.wait(10)
        return super().predict(images, sizes)


def test_what_is_not_done_after_the_grace_is_given_up(tiny_bundle: Path) -> None:
    gated = Gated()

    async def body(segmenter: Segmenter) -> None:
        calls = [asyncio.create_task(segmenter.segment(FRAME)) for _ in range(2)]
        await asyncio.to_thread(gated.begun.wait, 10)
        finishing = asyncio.create_task(segmenter.finish(0.05))
        with pytest.raises(Busy):
            await calls[1]
        gated.go_on.set()
        await finishing
        assert (await calls[0]).label_map.shape == (70, 90)

    with_segmenter(tiny_bundle, body, gated, Settings(max_batch=1))


def test_draining_waits_for_a_bundle_that_was_swapped_out(tiny_bundle: Path) -> None:
    gated = Gated()

    async def body(segmenter: Segmenter) -> None:
        call = asyncio.create_task(segmenter.segment(FRAME))
        await asyncio.to_thread(gated.begun.wait, 10)
        swap = asyncio.create_task(segmenter.swap(segmenter.bundle))
        await asyncio.wait_for(until(lambda: bool(segmenter._retiring)), 10)
        swap.cancel()
        finishing = asyncio.create_task(segmenter.finish(10))
        await asyncio.sleep(0.05)
        assert not finishing.done()
        gated.go_on.set()
        await finishing
        assert (await call).label_map.shape == (70, 90)

    with_segmenter(tiny_bundle, body, gated)


def test_draining_ends_the_wait_for_company(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        call = asyncio.create_task(segmenter.segment(FRAME))
        await asyncio.wait_for(
            until(lambda: segmenter._served is not None and segmenter._served.batcher.depth == 1), 10
        )
        await asyncio.wait_for(segmenter.finish(8), 5)
        assert (await call).label_map.shape == (70, 90)

    with_segmenter(tiny_bundle, body, Slow(0.0), Settings(max_delay=8.0))


def test_a_swap_that_draining_overtakes_says_so(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        assert await segmenter.swap(segmenter.bundle) is True
        swap = asyncio.create_task(segmenter.swap(segmenter.bundle))
        await asyncio.sleep(0)
        segmenter.drain()
        assert await swap is False

    with_segmenter(tiny_bundle, body)


def test_what_was_answered_is_counted_before_the_end(tiny_bundle: Path) -> None:
    """Other workers' /metrics go on telling of a worker that has ended, so its last answers must be there."""

    async def main() -> Segmenter:
        segmenter = Segmenter(open_bundle(tiny_bundle))
        await segmenter.start()
        await segmenter.segment(FRAME)
        await segmenter.close()
        return segmenter

    registry = asyncio.run(main()).metrics.registry
    assert registry.get_sample_value("adaptseg_image_duration_seconds_count") == 1
