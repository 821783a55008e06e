"""What a client gets back, and what it sends."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import AdaptSegError
from adaptseg_serve.labels import LabelMap

Picture = NDArray[np.uint8] | bytes
"""(H, W, 3) uint8 RGB, 0..255; or the bytes of a JPEG or PNG file."""

WantedSize = Literal["input", "model"]
"""Size of the label map: that of the image, or that of the network's input."""


Extra = Literal["confidence", "entropy"]
"""What can be asked for beside the label map."""


class ServiceError(AdaptSegError):
    """The service could not answer, and not for a reason a RequestError has a name for."""


@dataclass(frozen=True)
class Answer:
    """The answer to one image; `frame_id` counts the images of a stream from 0."""

    label_map: LabelMap
    model_version: str
    timings: dict[str, float]
    """Seconds spent in each stage of the service: decode, queue, infer."""
    frame_id: int = 0
    confidence: NDArray[np.float32] | None = None
    """(H, W): the largest class probability of each pixel, 0..1 in steps of 1/255; None where not asked for."""
    entropy: NDArray[np.float32] | None = None
    """(H, W): 0, sure, to 1, every class alike; likewise."""


@dataclass(frozen=True)
class Dropped:
    """A frame of a stream that has no label map, and why."""

    frame_id: int
    reason: str
    """SUPERSEDED, EXPIRED, BUSY, INVALID or INTERNAL (the server failed)."""
    detail: str


def to_label_map(data: bytes | memoryview, height: int, width: int) -> LabelMap:
    """Row by row train ids -> (height, width) uint8, writable."""
    if len(data) != height * width:
        raise ServiceError(f"The label map has {len(data)} bytes; {height} x {width} were announced.")
    return np.frombuffer(data, np.uint8).reshape(height, width).copy()


def to_map(data: bytes, height: int, width: int) -> NDArray[np.float32]:
    """Row by row bytes, 255 for 1 -> (height, width) float32, 0..1."""
    return to_label_map(data, height, width).astype(np.float32) / np.float32(255)


def check_picture(image: Picture) -> None:
    """Raise ValueError unless `image` is bytes or an (H, W, 3) uint8 array."""
    if isinstance(image, bytes):
        return
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"An image must be (height, width, 3) uint8 RGB; this one is {image.shape} {image.dtype}.")
