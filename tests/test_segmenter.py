"""The segmenter: what every door calls, with a real bundle and a real runtime."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.doors import until
from numpy.typing import NDArray

from adaptseg_serve import segmenter as segmenter_module
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import BadImage, BadParameter, BundleError, Busy, DeadlineExceeded, TooLarge
from adaptseg_serve.images import decode_image
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Predictor, Scored, Size, load_predictor
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))


class Slow:
    runtime = "slow"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.runs = -1  # The warm-up is not counted.

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        self.runs += 1
        time.sleep(self.seconds if self.runs else 0)
        return [np.zeros(size, np.uint8) for size in sizes]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        return [Scored(label_map, np.zeros((1, 2, 2), np.float32)) for label_map in self.predict(images, sizes)]


def with_segmenter(
    bundle: Path,
    body: Callable[[Segmenter], Awaitable[None]],
    predictor: Predictor | None = None,
    settings: Settings | None = None,
) -> None:
    async def main() -> None:
        segmenter = Segmenter(open_bundle(bundle), settings, predictor=predictor)
        await segmenter.start()
        try:
            await body(segmenter)
        finally:
            await segmenter.close(5)

    asyncio.run(main())


def png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def test_a_label_map_is_what_the_predictor_says_of_the_resized_image(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    resized = bundle.preprocess.resize_image(FRAME)[None]
    predictor = load_predictor(bundle)

    async def body(segmenter: Segmenter) -> None:
        for size, pixels in (("input", (70, 90)), ("model", (48, 64))):
            answer = await segmenter.segment(FRAME, size=size)  # type: ignore[arg-type]
            np.testing.assert_array_equal(answer.label_map, predictor.predict(resized, [pixels])[0])
            assert len(np.unique(answer.label_map)) > 3

    with_segmenter(tiny_bundle, body)


def test_a_file_and_its_pixels_give_the_same_label_map(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        encoded = await segmenter.segment_encoded(png(FRAME), keep_image=True)
        pixels = await segmenter.segment(FRAME)
        np.testing.assert_array_equal(encoded.label_map, pixels.label_map)
        assert pixels.image is None
        assert encoded.image is not None
        np.testing.assert_array_equal(encoded.image, FRAME)

    with_segmenter(tiny_bundle, body)


def test_concurrent_images_of_different_sizes_get_their_own_answers(tiny_bundle: Path) -> None:
    frames = [np.ascontiguousarray(FRAME[: 40 + i, : 80 - i]) for i in range(12)]

    async def body(segmenter: Segmenter) -> None:
        alone = [await segmenter.segment(frame) for frame in frames]
        together = await asyncio.gather(*(segmenter.segment(frame) for frame in frames))
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.label_map, other.label_map)

    with_segmenter(tiny_bundle, body)


class Traced:
    """Which thread ran what: (thread, scored, batch) of every run."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.runs: list[tuple[int, bool, int]] = []

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        self.runs.append((threading.get_ident(), False, len(images)))
        return [np.zeros(size, np.uint8) for size in sizes]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        self.runs.append((threading.get_ident(), True, len(images)))
        return [Scored(np.zeros(size, np.uint8), np.zeros((1, 2, 2), np.float32)) for size in sizes]


@pytest.mark.parametrize(
    ("runtime", "warm"),
    [
        ("onnxruntime-cpu", [(False, 1)]),
        ("openvino-cpu-bf16", [(False, 1)]),
        ("onnxruntime-cuda", [(scored, batch) for scored in (False, True) for batch in (1, 2, 3)]),
        ("onnxruntime-tensorrt-fp16", [(scored, batch) for scored in (False, True) for batch in (1, 2, 3)]),
        ("tensorrt", [(scored, batch) for scored in (False, True) for batch in (1, 2, 3)]),
    ],
)
def test_a_gpu_is_warm_for_every_batch_in_the_thread_that_serves(
    tiny_bundle: Path, runtime: str, warm: list[tuple[bool, int]]
) -> None:
    predictor = Traced(runtime)

    async def body(segmenter: Segmenter) -> None:
        assert [run[1:] for run in predictor.runs] == warm
        await segmenter.segment(FRAME)
        await segmenter.segment(FRAME, scored=True)
        assert len({run[0] for run in predictor.runs}) == 1
        assert predictor.runs[0][0] != threading.get_ident()

    with_segmenter(tiny_bundle, body, predictor, Settings(max_batch=3))


def test_a_bundle_that_will_not_load_leaves_no_thread(tiny_bundle: Path, tmp_path: Path) -> None:
    broken = replace(open_bundle(tiny_bundle), path=tmp_path)

    async def body(segmenter: Segmenter) -> None:
        before = {thread for thread in threading.enumerate() if thread.name == "device"}
        with pytest.raises(BundleError):
            await segmenter.swap(broken)
        for thread in {thread for thread in threading.enumerate() if thread.name == "device"} - before:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()
        assert (await segmenter.segment(FRAME)).bundle is segmenter.bundle

    with_segmenter(tiny_bundle, body)


def test_shares_sum_to_one(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        answer = await segmenter.segment(FRAME)
        assert answer.shares().sum() == pytest.approx(1)
        assert answer.shares()[answer.label_map[0, 0]] > 0

    with_segmenter(tiny_bundle, body)


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


def test_arrays_of_another_shape_are_refused(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        for wrong in (FRAME[..., 0], FRAME[..., :2], FRAME.astype(np.float32), FRAME[:0]):
            with pytest.raises(BadParameter, match="must be"):
                await segmenter.segment(wrong)  # type: ignore[arg-type]
        with pytest.raises(BadImage):
            await segmenter.segment_encoded(png(FRAME)[:-20])

    with_segmenter(tiny_bundle, body)


def test_too_many_pixels_are_refused_through_both_ways(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        with pytest.raises(TooLarge, match="90 x 70 = 6300 pixels; at most 6299"):
            await segmenter.segment(FRAME)
        with pytest.raises(TooLarge):
            await segmenter.segment_encoded(png(FRAME))

    with_segmenter(tiny_bundle, body, settings=Settings(max_pixels=6299))


def test_abandoned_work_never_runs(tiny_bundle: Path) -> None:
    """Gate 2: a 0.1 s model and ten clients that give up after 0.25 s; at most one run starts after the deadline."""
    slow = Slow(0.1)

    async def body(segmenter: Segmenter) -> None:
        deadline = time.monotonic() + 0.25
        calls = [segmenter.segment(FRAME, deadline=deadline) for _ in range(10)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        done = slow.runs
        assert sum(isinstance(a, DeadlineExceeded) for a in answers) >= 7
        await asyncio.sleep(0.3)
        assert slow.runs <= done <= 3

    with_segmenter(tiny_bundle, body, slow, Settings(max_batch=1, queue_depth=20))


def test_images_being_decoded_count_as_waiting(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        calls = [segmenter.segment_encoded(png(FRAME)) for _ in range(20)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [a for a in answers if isinstance(a, Busy)]
        assert len(refused) >= 10
        assert all(isinstance(a, Busy) or not isinstance(a, BaseException) for a in answers)

    with_segmenter(tiny_bundle, body, Slow(0.05), Settings(queue_depth=4))


STARTED = """
import asyncio, sys
from pathlib import Path
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.segmenter import Segmenter
asyncio.run(Segmenter(open_bundle(Path(sys.argv[1]))).start())
print("adaptseg_serve.tail_kernel" in sys.modules, "adaptseg_serve.uncertainty_kernel" in sys.modules)
"""


def test_who_is_ready_has_compiled_what_confidence_needs(tiny_bundle: Path) -> None:
    """A kernel is compiled when its module is imported."""
    command = [sys.executable, "-c", STARTED, str(tiny_bundle)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True True\n"
