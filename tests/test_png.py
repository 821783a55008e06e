"""Palette PNGs: every reader gets back what was written."""

import io
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.png import encode_palette_png

PALETTE = np.stack([np.arange(256), np.arange(256)[::-1], (np.arange(256) * 7) % 256], axis=1).astype(np.uint8)
"""256 different colours."""


def scene(height: int, width: int) -> NDArray[np.uint8]:
    """Blobs of 19 classes, as a segmenter draws them."""
    coarse = np.random.default_rng(0).integers(0, 19, (height // 40 + 2, width // 40 + 2), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


MAPS = {
    "one pixel": np.array([[255]], np.uint8),
    "one row": np.arange(256, dtype=np.uint8)[None],
    "one column": np.arange(256, dtype=np.uint8)[:, None],
    "constant": np.full((64, 64), 7, np.uint8),
    "odd": np.random.default_rng(1).integers(0, 256, (37, 91), dtype=np.uint8),
    "random": np.random.default_rng(2).integers(0, 256, (512, 1024), dtype=np.uint8),
    "scene": scene(1024, 2048),
    "ignored": np.full((1, 3), 255, np.uint8),
    "a view": np.random.default_rng(3).integers(0, 256, (64, 64), dtype=np.uint8)[::2, 1::3],
    "transposed": np.random.default_rng(4).integers(0, 19, (20, 50), dtype=np.uint8).T,
}


@pytest.fixture(params=MAPS)
def label_map(request: pytest.FixtureRequest) -> NDArray[np.uint8]:
    return MAPS[request.param]


def test_pillow_reads_ids_and_palette(label_map: NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(encode_palette_png(label_map, PALETTE))) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), label_map)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), PALETTE[label_map])
        assert image.getpalette() == PALETTE.ravel().tolist()


def test_opencv_reads_the_colours(label_map: NDArray[np.uint8]) -> None:
    found = cv2.imdecode(np.frombuffer(encode_palette_png(label_map, PALETTE), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(found, PALETTE[label_map])


def test_the_frame_is_what_the_standard_says(label_map: NDArray[np.uint8]) -> None:
    """Read back by hand: chunk order, lengths and checksums, and the stdlib's inflate."""
    data = encode_palette_png(label_map, PALETTE)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunks[name] = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + chunks[name])
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    height, width = label_map.shape
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (width + 1)


@pytest.mark.skipif(shutil.which("pngcheck") is None, reason="needs pngcheck (apt install pngcheck)")
@pytest.mark.parametrize("name", MAPS)
def test_pngcheck_finds_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "label_map.png"
    path.write_bytes(encode_palette_png(MAPS[name], PALETTE))
    done = subprocess.run(["pngcheck", "-v", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "No errors detected" in done.stdout


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 256), st.integers(0, 2**32 - 1))
def test_any_map(height: int, width: int, ids: int, seed: int) -> None:
    label_map = np.random.default_rng(seed).integers(0, ids, (height, width), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_palette_png(label_map, PALETTE))) as image:
        np.testing.assert_array_equal(np.asarray(image), label_map)


def test_a_scene_takes_a_fiftieth_of_its_pixels() -> None:
    assert len(encode_palette_png(MAPS["scene"], CITYSCAPES.palette())) < 1024 * 2048 / 50


@pytest.mark.parametrize(
    ("label_map", "palette"),
    [
        (np.zeros((3, 3), np.int64), PALETTE),
        (np.zeros((3, 3, 1), np.uint8), PALETTE),
        (np.zeros((0, 3), np.uint8), PALETTE),
        (np.zeros((3, 3), np.uint8), PALETTE[:19]),
        (np.zeros((3, 3), np.uint8), PALETTE.astype(np.float32)),
    ],
)
def test_a_wrong_argument_is_refused(label_map: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_palette_png(label_map, palette)
