"""Images: the header first, then the pixels; nothing readable is refused and nothing unreadable gets through."""

import contextlib
import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from adaptseg_serve.errors import BadImage, TooLarge, UnsupportedType
from adaptseg_serve.images import Header, decode_image, read_header

LIMIT = 16_000_000
SMOOTH = cv2.resize(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8), (200, 120))


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """SMOOTH in Pillow's `mode`, as a file."""
    stream = io.BytesIO()
    Image.fromarray(SMOOTH).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def blank_png(height: int, width: int) -> bytes:
    """An all-black RGB PNG, made row by row: small, whatever its size says."""
    packer, row = zlib.compressobj(9), bytes(1 + 3 * width)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_png_comes_back_as_it_was(mode: str) -> None:
    np.testing.assert_array_equal(decode_image(saved("PNG", mode), LIMIT), SMOOTH)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_gray_and_palette_pngs_become_rgb(mode: str) -> None:
    expected = np.asarray(Image.fromarray(SMOOTH).convert(mode).convert("RGB"))
    np.testing.assert_array_equal(decode_image(saved("PNG", mode), LIMIT), expected)


def test_sixteen_bits_become_eight() -> None:
    deep = SMOOTH[..., ::-1].astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(cv2.imencode(".png", deep)[1].tobytes(), LIMIT), SMOOTH)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpegs_of_every_coding_are_read(options: dict[str, Any]) -> None:
    image = decode_image(saved("JPEG", quality=95, **options), LIMIT)
    assert np.abs(image.astype(int) - SMOOTH).mean() < 3


def test_a_jpeg_of_very_many_scans_is_refused_unread() -> None:
    """Each takes the decoder over all pixels: a file of 70 KB could keep it busy for seconds."""
    data = saved("JPEG", quality=95, progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decode_image(data[:-2] + 10 * last + data[-2:], LIMIT).shape == SMOOTH.shape
    with pytest.raises(BadImage, match="scans"):
        decode_image(data[:-2] + 1000 * last + data[-2:], LIMIT)


def test_a_photo_with_a_film_behind_it_is_read() -> None:
    film = np.random.default_rng(1).integers(0, 256, 10_000_000, np.uint8).tobytes()
    assert film.count(b"\xff\xda") > 100
    assert decode_image(saved("JPEG", quality=95) + film, LIMIT).shape == SMOOTH.shape


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_exif_orientation_is_followed(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(kind, exif=exif)
    assert read_header(data).size == (120, 200)
    assert decode_image(data, LIMIT).shape == (200, 120, 3)


def test_an_animation_gives_its_first_frame() -> None:
    stream = io.BytesIO()
    frames = [Image.fromarray(np.full((8, 9, 3), value, np.uint8)) for value in (10, 200)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    assert (decode_image(stream.getvalue(), LIMIT) == 10).all()


@pytest.mark.parametrize("data", [saved("WEBP"), saved("GIF", "P"), b"{}", b"http://host/a.jpg", b"what?"])
def test_other_types_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedType, match="not a JPEG or PNG"):
        decode_image(data, LIMIT)


def test_a_cmyk_jpeg_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedType, match="CMYK"):
        decode_image(saved("JPEG", "CMYK"), LIMIT)


@pytest.mark.parametrize("data", [saved("JPEG"), saved("PNG")], ids=["jpeg", "png"])
@pytest.mark.parametrize("kept", [3, 8, 20, 0.5, -1, -4])
def test_a_file_that_is_cut_short_is_a_bad_image(data: bytes, kept: float) -> None:
    short = data[: int(len(data) * kept)] if 0 < kept < 1 else data[: int(kept)]
    with pytest.raises((BadImage, UnsupportedType)):
        decode_image(short, LIMIT)


def test_an_empty_body_is_a_bad_image() -> None:
    with pytest.raises(BadImage, match="empty"):
        decode_image(b"", LIMIT)


def test_a_damaged_png_is_a_bad_image() -> None:
    data = bytearray(saved("PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BadImage, match="corrupt"):
        decode_image(bytes(data), LIMIT)


def test_never_more_is_decoded_than_the_header_says() -> None:
    data = blank_png(100, 100)
    header = struct.pack(">IIBBBBB", 50, 50, 8, 2, 0, 0, 0)
    lying = data[:8] + png_chunk(b"IHDR", header) + data[33:]
    assert read_header(lying) == Header("png", (50, 50))
    assert decode_image(lying, LIMIT).shape == (50, 50, 3)


def test_a_small_file_of_a_huge_image_costs_nothing() -> None:
    """Gate 4's 0.5 MB PNG of 13000 x 13000: to decode it takes a second and half a gigabyte."""
    data = blank_png(13000, 13000)
    assert len(data) < 520_000
    tracemalloc.start()
    started = time.thread_time()
    with pytest.raises(TooLarge, match=r"13000 x 13000 = 169000000 pixels"):
        decode_image(data, LIMIT)
    seconds, (_, peak) = time.thread_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.1
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"\xff\xd8\xff" + b"\xff\xe0\x00\x02" * 4_000_000, "has no frame header"),
        (b"\xff\xd8\xff" + b"\xff" * 16_000_000, "ends before its frame header"),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 16_000_000, "ends before its frame header"),
        (saved("PNG")[:33] + png_chunk(b"tEXt", b"") * 1_300_000, "more than 65536 chunks"),
    ],
    ids=["segments", "fill", "stray", "chunks"],
)
def test_no_header_takes_long_to_read(data: bytes, refusal: str) -> None:
    started = time.thread_time()
    with pytest.raises(BadImage, match=refusal):
        read_header(data)
    assert time.thread_time() - started < 0.5


@given(st.data())
def test_damage_anywhere_is_an_error_of_the_client(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from([saved("JPEG"), saved("PNG"), saved("PNG", "P")])))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    del data[draw.draw(st.integers(len(data) // 2, len(data))) :]
    with contextlib.suppress(BadImage, TooLarge, UnsupportedType):
        image: NDArray[np.uint8] = decode_image(bytes(data), 1_000_000)
        assert image.dtype == np.uint8
        assert image.ndim == 3
