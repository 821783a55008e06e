"""A request of several images whose decoding a swap of bundles interrupts is answered by one bundle."""

import asyncio
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.doors import until
from helpers.tiny_bundle import write_tiny_bundle
from numpy.typing import NDArray

from adaptseg_serve import oip, segmenter
from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.device_thread import DeviceThread
from adaptseg_serve.images import decode_image
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

FRAMES = np.random.default_rng(3).integers(0, 256, (4, 48, 64, 3), np.uint8)
FILES = [cv2.imencode(".png", frame[..., ::-1])[1].tobytes() for frame in FRAMES]


def test_a_batch_that_is_decoded_across_a_swap_is_one_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (open_bundle(write_tiny_bundle(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    release, decoding = threading.Event(), threading.Semaphore(0)

    def held(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        decoding.release()
        assert release.wait(30)
        return decode_image(data, max_pixels)

    monkeypatch.setattr(segmenter, "decode_image", held)

    async def work() -> tuple[list[Segmentation], list[Segmentation]]:
        # One thread decodes: three of the four images are still in line when the bundle changes.
        serving = Segmenter(first, Settings(codec_threads=1, max_batch=4, drift_every=0))
        await serving.start()
        batch = asyncio.create_task(oip.infer(serving, list(FILES), None))
        await until(lambda: decoding.acquire(blocking=False))
        swap = asyncio.create_task(serving.swap(second))
        await until(lambda: serving.bundle is second)
        release.set()
        answers = await batch
        await swap  # It waits for the batch: whoever was admitted is answered.
        later = await oip.infer(serving, list(FILES), None)
        await serving.close()
        return answers, later

    answers, later = asyncio.run(work())
    check(answers, first)
    check(later, second)


def test_a_swap_between_two_images_of_a_request_changes_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (open_bundle(write_tiny_bundle(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    predictor = load_predictor(second)

    async def work() -> list[Segmentation]:
        serving = Segmenter(first, Settings(drift_every=0))
        await serving.start()
        seen: list[object] = []

        def swapping(size: tuple[int, ...], max_pixels: int) -> None:
            seen.append(size)
            if len(seen) == 2:  # What `swap` does in one step of the event loop.
                device = DeviceThread(asyncio.get_running_loop())
                serving._served, serving.bundle = serving._serve(second, predictor, device), second

        monkeypatch.setattr(segmenter, "check_pixels", swapping)
        answers = await oip.infer(serving, list(FRAMES), None)
        await serving.close()
        assert len(seen) == len(FRAMES)
        return answers

    check(asyncio.run(work()), first)


def check(answers: list[Segmentation], bundle: Bundle) -> None:
    """All are `bundle`'s, and are its predictor's label maps."""
    assert {a.bundle.version for a in answers} == {bundle.version}
    expected = load_predictor(bundle).predict(FRAMES, [(48, 64)] * len(FRAMES))
    assert all(np.array_equal(a.label_map, e) for a, e in zip(answers, expected, strict=True))
