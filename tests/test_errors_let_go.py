"""An error that a client gets keeps nothing of its request, however seldom the collector comes by.

A future that failed holds its error, the error its traceback, and that the frames with the image in them. A frame that
holds the future closes the circle: half a megabyte and more a refusal, until the collector runs.
"""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.doors import PacedPredictor
from starlette.requests import Request
from starlette.types import Message

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.codec import Codec
from adaptseg_serve.errors import BadImage, RequestError
from adaptseg_serve.http.segment import while_connected
from adaptseg_serve.oip import infer
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

IMAGE = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def remains(ask: Callable[[], Awaitable[object]]) -> bool:
    """Is the error that `ask` raises still there when whoever caught it has let it go?"""
    try:
        await ask()
    except RequestError as error:
        kept = weakref.ref(error)
    else:
        raise AssertionError("nothing was raised")
    for _ in range(50):  # What a thread still holds for a moment is no circle.
        if kept() is None:
            return False
        await asyncio.sleep(0.01)
    return True


def _refuse() -> None:
    raise BadImage("no")


def test_what_fails_in_a_codec_thread() -> None:
    async def run() -> bool:
        codec = Codec(1)
        try:
            return await remains(lambda: codec(_refuse))
        finally:
            codec.close()

    assert not asyncio.run(run())


def _late(segmenter: Segmenter) -> Awaitable[object]:
    return segmenter.segment(IMAGE, deadline=time.monotonic() + 0.05)


def _file(segmenter: Segmenter) -> Awaitable[object]:
    return segmenter.segment_encoded(b"\x89PNG\r\n\x1a\n, or not")


def _files(segmenter: Segmenter) -> Awaitable[object]:
    return infer(segmenter, [b"no image", b"none either"], None)


def _over_http(segmenter: Segmenter) -> Awaitable[object]:
    async def connected() -> Message:
        await asyncio.sleep(10)
        raise AssertionError

    return while_connected(Request({"type": "http", "headers": []}, connected), segmenter.segment_encoded(b"none"))


@pytest.mark.parametrize("ask", [_late, _file, _files, _over_http])
def test_what_a_segmenter_refuses(ask: Callable[[Segmenter], Awaitable[object]], tiny_bundle: Path) -> None:
    async def run() -> bool:
        segmenter = Segmenter(open_bundle(tiny_bundle), Settings(), predictor=PacedPredictor(0.2))
        await segmenter.start()
        try:
            return await remains(partial(ask, segmenter))
        finally:
            await segmenter.close()

    assert not asyncio.run(run())
