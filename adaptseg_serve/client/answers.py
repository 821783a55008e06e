"""What a client gets back, and what it sends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve import errors
from adaptseg_serve.errors import AdaptSegError, RequestError
from adaptseg_serve.labels import LabelClass, LabelMap, LabelSet

Picture = NDArray[np.uint8] | bytes
"""(H, W, 3) uint8 RGB, 0..255; or the bytes of a JPEG or PNG file."""

WantedSize = Literal["input", "model"]
"""Size of the label map: that of the image, or that of the network's input."""


Extra = Literal["confidence", "entropy", "shares"]
"""What can be asked for beside the label map."""


NAMED: Mapping[str, type[RequestError]] = {
    kind.name: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RequestError) and kind is not errors.Busy
}
"""The errors of requests by their names, which both doors tell."""


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
    shares: NDArray[np.float64] | None = None
    """(classes,): each class's share of the label map's pixels, by train id, 0..1; likewise. `labels` has the names."""


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


def to_label_set(name: str, classes: Iterable[LabelClass]) -> LabelSet:
    found = tuple(classes)
    return LabelSet(name, found, {each.label_id: each.train_id for each in found})


def check_picture(image: Picture) -> None:
    """Raise ValueError unless `image` is bytes or an (H, W, 3) uint8 array that is not empty."""
    if isinstance(image, bytes):
        return
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"An image must be an array or the bytes of a JPEG or PNG file; this one is {type(image).__name__}. "
            "A file's: Path(name).read_bytes()."
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"An image must be (height, width, 3) uint8 RGB; this one is {image.shape} {image.dtype}.")
