"""From the bytes a client sent to an (H, W, 3) RGB array: checked by the header first, then decoded.

The bytes decide what an image is, never the declared content type. Width and height are read from the header
before anything is decoded, so that a small file of a huge image costs nothing.

What is accepted: JPEG (8 bit, grayscale or colour; a CMYK or 12-bit JPEG is refused) and PNG (any kind: palettes
are expanded, 16 bits become 8, alpha is dropped, an animation gives its first frame). Orientation: a JPEG or PNG
with an EXIF orientation is turned upright, as every viewer shows it, and its label map has the upright size.
"""

import re
import struct
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import BadImage, TooLarge, UnsupportedType

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
MAX_SEGMENTS = 4096
MAX_CHUNKS = 65536
MAX_FILL = 1024
MAX_SCANS = 100
"""Of a JPEG: a progressive one of a camera or a program has about ten, and each takes the decoder over all pixels."""

_OTHERS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"RIFF": "a WebP or AVI",
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"%PDF": "a PDF",
    b"{": "JSON",
    b"<": "markup",
    b"http": "an address (this service fetches nothing: send the image's bytes)",
}


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, before decoding."""

    format: Literal["jpeg", "png"]
    size: tuple[int, int]
    """(height, width) as stored, before any EXIF orientation."""


def read_header(data: bytes) -> Header:
    """Header of a JPEG or PNG. Raises UnsupportedType for anything else, BadImage where it is cut short or corrupt."""
    if data.startswith(PNG_MAGIC):
        return _png_header(data)
    if data.startswith(JPEG_MAGIC):
        return _jpeg_header(data)
    if not data:
        raise BadImage("The body is empty. Send the bytes of a JPEG or PNG file.")
    found = next((name for magic, name in _OTHERS.items() if data.startswith(magic)), "something else")
    raise UnsupportedType(f"The body is {found}, not a JPEG or PNG file. Convert it to one of these.")


def check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Raise TooLarge, with the figure, where height x width is more than `max_pixels`."""
    height, width = size
    if height * width > max_pixels:
        raise TooLarge(
            f"The image has {width} x {height} = {height * width} pixels; at most {max_pixels} are accepted. "
            "Scale it down, or raise ADAPTSEG_MAX_PIXELS."
        )


def decode_image(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Bytes of a JPEG or PNG -> (H, W, 3) uint8 RGB, 0..255, upright.

    Raises UnsupportedType, TooLarge (before decoding) or BadImage.
    """
    header = read_header(data)
    check_pixels(header.size, max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise BadImage(f"The {header.format.upper()} can't be decoded ({error.err}). Save it again.") from None
    if image is None or sorted(image.shape[:2]) != sorted(header.size):
        raise BadImage(f"The {header.format.upper()} is corrupt and can't be decoded. Save it again.")
    return np.asarray(image, np.uint8)


def _png_header(data: bytes) -> Header:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise BadImage("The PNG is cut short or its first chunk is not IHDR. Send the whole file.")
    width, height = struct.unpack(">II", data[16:24])
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise BadImage(f"The PNG says it has {width} x {height} pixels. Save it again.")
    _find_end_of_png(data)
    return Header("png", (height, width))


def _find_end_of_png(data: bytes) -> None:
    position = len(PNG_MAGIC)
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(data):
            raise BadImage("The PNG is cut short: it has no IEND chunk. Send the whole file.")
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return
        position += length + 12
    raise BadImage(f"The PNG has more than {MAX_CHUNKS} chunks. Save it again.")


# Start-of-frame markers: all of C0..CF but DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A scan's header as libjpeg takes it: its length fits its 1 to 4 components. Phones append a film to some photos, whose
# bytes have the marker itself by chance.
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


def _jpeg_header(data: bytes) -> Header:
    position = 2
    for _ in range(MAX_SEGMENTS):
        position = _next_marker(data, position)
        marker = data[position]
        position += 1
        if marker in _BARE:
            continue
        if marker in _FRAMES:
            return _jpeg_frame(data, position)
        if marker == 0xDA or marker == 0xD9 or position + 2 > len(data):
            break
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    raise BadImage("The JPEG is cut short or has no frame header. Send the whole file.")


def _next_marker(data: bytes, position: int) -> int:
    """Index of the next marker's code, over stray bytes and fill bytes (as libjpeg reads it)."""
    found = data.find(b"\xff", position)
    after_fill = data[found : found + MAX_FILL].lstrip(b"\xff") if found >= 0 else b""
    if not after_fill:
        raise BadImage("The JPEG is cut short: it ends before its frame header. Send the whole file.")
    return min(found + MAX_FILL, len(data)) - len(after_fill)


def _jpeg_frame(data: bytes, position: int) -> Header:
    if position + 8 > len(data):
        raise BadImage("The JPEG is cut short within its frame header. Send the whole file.")
    precision, height, width, components = struct.unpack_from(">BHHB", data, position + 2)
    if not height or not width:
        raise BadImage(f"The JPEG says it has {width} x {height} pixels. Save it again.")
    if precision != 8 or components not in (1, 3):
        raise UnsupportedType(
            f"A JPEG of {components} components and {precision} bits (CMYK, or medical) is not supported. "
            "Save it as an 8-bit RGB JPEG or PNG."
        )
    if len(_SCAN.findall(data, position)) > MAX_SCANS:
        raise BadImage(f"The JPEG has more than {MAX_SCANS} scans. Save it again.")
    if data.rfind(b"\xff\xd9") < position:
        raise BadImage("The JPEG is cut short: it has no end marker. Send the whole file.")
    return Header("jpeg", (height, width))
