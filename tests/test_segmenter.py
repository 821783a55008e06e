"""The segmenter: what every door calls, with a real bundle and a real runtime."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.doors import BreakablePredictor
from helpers.segmenters import FRAME, Slow, png, with_segmenter
from helpers.tiny_bundle import write_tiny_bundle
from numpy.typing import NDArray

from adaptseg_serve.batcher import BROKEN_AFTER
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import BadImage, BadParameter, BundleError, Busy, DeadlineExceeded, TooLarge
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored, Size, load_predictor
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings


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


def test_a_swap_does_not_leave_the_gpu(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both bundles are in its memory for a moment: where that is too little, `auto` would fall back to the CPU."""
    other = open_bundle(write_tiny_bundle(tmp_path / "other", seed=5))
    at_first = Slow(0)
    at_first.runtime = "onnxruntime-cuda"

    async def body(segmenter: Segmenter) -> None:
        segmenter._predictor = None  # what is loaded from now on is found on this machine: a CPU's
        with pytest.raises(BundleError, match="could be loaded only as onnxruntime-cpu, where onnxruntime-cuda serves"):
            await segmenter.swap(other)
        assert segmenter.bundle.digest != other.digest
        assert await segmenter.segment(FRAME)

    with_segmenter(tiny_bundle, body, at_first, Settings(runtime="onnxruntime-cpu"))


def test_a_device_that_always_fails_is_neither_ready_nor_live_until_it_answers(tiny_bundle: Path) -> None:
    predictor = BreakablePredictor()

    async def body(segmenter: Segmenter) -> None:
        predictor.whole = False
        for number in range(BROKEN_AFTER):
            assert (segmenter.ready, segmenter.live) == (True, True), number
            with pytest.raises(RuntimeError):
                await segmenter.segment(FRAME)
        assert (segmenter.ready, segmenter.live) == (False, False)
        assert b"adaptseg_ready 0.0" in segmenter.metrics.exposition()
        predictor.whole = True
        await segmenter.segment(FRAME)
        assert (segmenter.ready, segmenter.live) == (True, True)
        assert b"adaptseg_ready 1.0" in segmenter.metrics.exposition()

    with_segmenter(tiny_bundle, body, predictor)


def test_shares_sum_to_one(tiny_bundle: Path) -> None:
    async def body(segmenter: Segmenter) -> None:
        answer = await segmenter.segment(FRAME)
        assert answer.shares().sum() == pytest.approx(1)
        assert answer.shares()[answer.label_map[0, 0]] > 0

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


def test_an_image_that_needs_no_decoding_takes_no_ones_place(tiny_bundle: Path) -> None:
    """What is being decoded finds room, whoever comes meanwhile."""

    async def body(segmenter: Segmenter) -> None:
        decoding = asyncio.Event()
        codec = segmenter.codec

        async def slow_codec(work: Callable[[], Any], *more: Any) -> Any:
            await decoding.wait()
            return await codec(work, *more)

        segmenter.codec = slow_codec  # type: ignore[assignment]
        coming = [asyncio.ensure_future(segmenter.segment_encoded(png(FRAME))) for _ in range(2)]
        await asyncio.sleep(0)
        height, width = segmenter.bundle.preprocess.size
        with pytest.raises(Busy):
            await segmenter.segment(np.zeros((height, width, 3), np.uint8))
        decoding.set()
        assert all(answer.label_map.shape == FRAME.shape[:2] for answer in await asyncio.gather(*coming))
        segmenter.codec = codec

    with_segmenter(tiny_bundle, body, Slow(0.05), Settings(queue_depth=2))


STARTED = """
import asyncio, sys
from pathlib import Path
from typing import Any
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.segmenter import Segmenter
asyncio.run(Segmenter(open_bundle(Path(sys.argv[1]))).start())
print("adaptseg_serve.tail_kernel" in sys.modules, "adaptseg_serve.uncertainty_kernel" in sys.modules)
"""


def test_who_is_ready_has_compiled_what_confidence_needs(tiny_bundle: Path) -> None:
    """A kernel is compiled when its module is imported."""
    command = [sys.executable, "-c", STARTED, str(tiny_bundle)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True True\n"
