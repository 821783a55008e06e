"""The Open Inference Protocol's meaning, shared by its two doors (gRPC and HTTP): what a request's tensors hold.

One input, `image`: UINT8 [N, H, W, 3] RGB, 0..255, or BYTES [N] with one JPEG or PNG file each. One output,
`label_map`: UINT8 [N, H, W] train ids. The N images of a request are segmented as N requests, so they batch.
"""

import asyncio
import contextlib
import math
import struct
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import BadParameter, RequestError, TooLarge
from adaptseg_serve.images import read_header
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.served import Served

INPUT, OUTPUT = "image", "label_map"
DIMENSIONS = 4
"""Of the input, as pixels: [N, H, W, 3]."""
MOST_NUMBERS = 2_000_000
"""Elements that are sent one by one, in JSON or as protobuf's numbers: reading them holds the interpreter, and every
other request with it. A frame of 512 x 1024 has 1.6 million."""
MAX_LENGTH = 1 << 31
MAX_TIMEOUT = 3_600_000_000
"""Microseconds; what a client asks for beyond an hour counts as an hour."""
_WHOLE = f"Input {INPUT!r} must hold whole numbers from 0 to 255."

OneImage = NDArray[np.uint8] | bytes
"""(H, W, 3) uint8 RGB, or a JPEG or PNG file."""


@dataclass(frozen=True)
class Tensor:
    """One input tensor as it came: `raw` holds its bytes, or else `values` its elements, flat and in row order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview | None = None
    values: Sequence[Any] | None = None


def check_outputs(names: Sequence[str]) -> None:
    """Raise BadParameter if a client asks for an output other than `label_map`."""
    for name in names:
        if name != OUTPUT:
            raise BadParameter(f"There is no output {name!r}. Ask for {OUTPUT!r}, or leave the outputs out.")


def check_inputs(names: Sequence[str]) -> None:
    """Raise BadParameter unless a client sends one input, and that is `image`."""
    if list(names) != [INPUT]:
        said = ", ".join(map(repr, names)) or "nothing"
        raise BadParameter(f"The request must have exactly one input, {INPUT!r}; it has {said}.")


def check_count_of_numbers(count: int) -> None:
    """Raise TooLarge where a tensor's elements are too many to be sent one by one."""
    if count > MOST_NUMBERS:
        raise TooLarge(
            f"Input {INPUT!r} holds {count} numbers; at most {MOST_NUMBERS} may come one by one. Send the tensor in "
            "binary (raw_input_contents, or over HTTP the binary extension), or a JPEG or PNG file as BYTES."
        )


def read_images(tensors: Sequence[Tensor], max_images: int) -> list[OneImage]:
    """The images of a request; BadParameter says which name, datatype, shape or size is wrong and what is right."""
    check_inputs([tensor.name for tensor in tensors])
    tensor = tensors[0]
    match tensor.datatype:
        case "UINT8":
            return _pixels(tensor, max_images)
        case "BYTES":
            return _files(tensor, max_images)
    raise BadParameter(
        f"Input {INPUT!r} has datatype {tensor.datatype!r}; it must be UINT8 with shape [N, H, W, 3], "
        "or BYTES with shape [N] and one JPEG or PNG file in each element."
    )


def pixel_bytes(datatype: str, shape: tuple[int, ...]) -> int:
    """How many bytes the pixels of an input that comes in binary must have; BadParameter for a wrong shape, 0 where it
    is files."""
    if datatype != "UINT8":
        return 0
    _check_pixels(shape)
    return math.prod(shape)


def pixel_views(raw: bytes | memoryview, shape: tuple[int, ...], nbytes: int, max_images: int) -> list[OneImage]:
    """The images of a UINT8 input, where they lie; `nbytes` are what `pixel_bytes` says. BadParameter for another
    number, and for too many images."""
    _check_count(shape[0], max_images)
    _check_size(len(raw), shape, nbytes)
    return list(np.frombuffer(raw, np.uint8).reshape(shape))


async def infer(segmenter: Segmenter, images: Sequence[OneImage], deadline: float | None) -> list[Segmentation]:
    """Segment `images` at once, by one bundle; the first error ends the others. The model's statistics count it as one
    request, that is done here: writing the answer is not part of it.

    deadline: time.monotonic() seconds. All label maps have one size, or BadParameter is raised; TooLarge where files
    have more pixels together than one may have, since an answer is made of all of them at once.
    """
    started = time.monotonic()
    try:
        with segmenter.admitted() as served:
            if len(images) > 1 and sum(isinstance(image, bytes) for image in images) > 1:
                with served.decoding_slot():
                    most = segmenter.settings.max_pixels
                    await segmenter.codec(lambda: check_pixels_together(images, most), deadline)
            if len(images) == 1:
                answers = [await _segment(segmenter, images[0], deadline, served)]
            else:
                answers = await _infer_together(segmenter, images, deadline, served)
    except BaseException:
        segmenter.statistics.failed(time.monotonic() - started)
        raise
    segmenter.statistics.succeeded([a.timings for a in answers], time.monotonic() - started)
    return answers


def check_pixels_together(images: Sequence[OneImage], most: int) -> None:
    """Of a request's files, by their headers; what is no image is refused where it is decoded."""
    pixels = 0
    for image in images:
        if isinstance(image, bytes):
            with contextlib.suppress(RequestError):
                pixels += math.prod(read_header(image).size)
    if pixels > most:
        raise TooLarge(
            f"The request's {len(images)} images have {pixels} pixels together; at most {most} are accepted. Send them "
            "in several requests, or raise ADAPTSEG_MAX_PIXELS."
        )


def output_shape(answers: Sequence[Segmentation]) -> list[int]:
    """[N, H, W] of the answer's tensor."""
    return [len(answers), *answers[0].label_map.shape]


def output_bytes(answers: Sequence[Segmentation]) -> bytes | memoryview:
    """The answer's tensor, row by row; one label map as it lies there."""
    rows = [np.ascontiguousarray(a.label_map).data.cast("B") for a in answers]
    return rows[0] if len(rows) == 1 else b"".join(rows)


def sooner(deadline: float | None, microseconds: int | None) -> float | None:
    """The earlier of `deadline` and the request's own parameter "timeout", in time.monotonic() seconds."""
    if not microseconds:
        return deadline
    if microseconds < 0:
        raise BadParameter(f"Parameter 'timeout' is {microseconds}; it must be microseconds, 0 for none.")
    own = time.monotonic() + min(microseconds, MAX_TIMEOUT) / 1e6
    return own if deadline is None else min(own, deadline)


def split_elements(raw: bytes | memoryview, most: int) -> list[bytes]:
    """Elements of a BYTES tensor: each a little-endian uint32 length and that many bytes. BadParameter for > `most`."""
    view, elements, start = memoryview(raw), list[bytes](), 0
    while start < len(view):
        if len(elements) == most:
            raise BadParameter(f"The BYTES tensor holds more elements than the {most} that its shape says.")
        stop = start + 4
        if stop <= len(view):
            (length,) = struct.unpack_from("<I", view, start)
            stop += length
        if stop > len(view):
            raise BadParameter(
                "The BYTES tensor ends inside an element; each is a little-endian uint32 length and that many bytes."
            )
        elements.append(bytes(view[start + 4 : stop]))
        start = stop
    return elements


async def _infer_together(
    segmenter: Segmenter, images: Sequence[OneImage], deadline: float | None, served: Served
) -> list[Segmentation]:
    tasks = [asyncio.create_task(_segment(segmenter, image, deadline, served)) for image in images]
    try:
        answers = await asyncio.gather(*tasks)
    finally:
        while tasks:  # Kept, they, their errors and this frame would hold each other: see errors.py.
            tasks.pop().cancel()
    sizes = {a.label_map.shape for a in answers}
    if len(sizes) > 1:
        raise BadParameter(f"The images of a request must have one size; these have {sorted(sizes)}. Send them alone.")
    return answers


def _segment(
    segmenter: Segmenter, image: OneImage, deadline: float | None, served: Served
) -> Coroutine[None, None, Segmentation]:
    if isinstance(image, bytes):
        return segmenter.segment_encoded(image, deadline=deadline, by=served)
    return segmenter.segment(image, deadline=deadline, by=served)


def _pixels(tensor: Tensor, max_images: int) -> list[OneImage]:
    shape = tensor.shape
    _check_pixels(shape)
    size = math.prod(shape)
    if tensor.raw is not None:
        return pixel_views(tensor.raw, shape, size, max_images)
    _check_count(shape[0], max_images)
    values = _flat(tensor.values or ())
    _check_size(len(values), shape, size)
    return list(_uint8(values).reshape(shape))


def _check_size(found: int, shape: tuple[int, ...], size: int) -> None:
    if found != size:
        raise BadParameter(f"Input {INPUT!r} holds {found} bytes; shape {list(shape)} needs {size}.")


def _check_pixels(shape: tuple[int, ...]) -> None:
    if len(shape) != DIMENSIONS or shape[3] != 3 or min(shape) < 1 or max(shape) > MAX_LENGTH:
        raise BadParameter(
            f"Input {INPUT!r} has shape {str(shape)[:80]}; UINT8 must be [N, H, W, 3], RGB, none of them 0."
        )


def _flat(values: Sequence[Any]) -> Sequence[Any]:
    """The elements of lists of lists, of whatever kind they are."""
    while set(map(type, values)) == {list}:
        if len(set(map(len, values))) > 1:
            raise BadParameter(f"{_WHOLE} Its rows have different lengths.")
        values = list(chain.from_iterable(values))
    return values


def _uint8(values: Sequence[Any]) -> NDArray[np.uint8]:
    """Looked at one by one before NumPy sees them: of one long text it would make as many of that length."""
    if set(map(type, values)) != {int}:
        raise BadParameter(_WHOLE)
    least, most = min(values), max(values)
    if least < 0 or most > 255:
        raise BadParameter(f"{_WHOLE} These go from {least} to {most}.")
    return np.fromiter(values, np.uint8, len(values))


def _files(tensor: Tensor, max_images: int) -> list[OneImage]:
    if len(tensor.shape) not in (1, 2) or min(tensor.shape) < 1 or tensor.shape[1:] not in ((), (1,)):
        raise BadParameter(
            f"Input {INPUT!r} has shape {str(tensor.shape)[:80]}; BYTES must be [N] or [N, 1], N at least 1."
        )
    _check_count(tensor.shape[0], max_images)
    raw = tensor.raw
    elements: list[OneImage] = list(tensor.values or ()) if raw is None else [*split_elements(raw, tensor.shape[0])]
    if len(elements) != tensor.shape[0]:
        raise BadParameter(f"Input {INPUT!r} holds {len(elements)} elements; its shape says {tensor.shape[0]}.")
    return elements


def _check_count(images: int, most: int) -> None:
    if images > most:
        raise BadParameter(f"The request holds {images} images; at most {most} go in one. Send them in several.")
