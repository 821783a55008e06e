"""A label map as people look at it: in the classes' colours, alone or over its image."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import NotAcceptable
from adaptseg_serve.labels import LabelMap

OPACITY = 0.5
JPEG_QUALITY = 90
MAX_SIDE = {"jpeg": 65_500, "png": 1_000_000}
"""Most pixels a side that OpenCV's libjpeg and libpng write."""


def colors_of(label_map: LabelMap, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8 and (256, 3) uint8 RGB -> (H, W, 3) uint8 RGB."""
    return palette[label_map]


def overlay(
    image: NDArray[np.uint8], label_map: LabelMap, palette: NDArray[np.uint8], opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """The label map's colours over `image` ((H, W, 3) uint8 RGB, of the label map's size), as strong as `opacity`."""
    blended = cv2.addWeighted(colors_of(label_map, palette), opacity, image, 1 - opacity, 0)
    return np.asarray(blended, np.uint8)


def encode_rgb(image: NDArray[np.uint8], kind: Literal["png", "jpeg"]) -> bytes:
    """(H, W, 3) uint8 RGB -> bytes of a file. Raises NotAcceptable for a picture that no such file can hold."""
    _check_sides(image, kind)
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1] if kind == "png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(f".{kind}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def _check_sides(image: NDArray[np.uint8], kind: Literal["png", "jpeg"]) -> None:
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE[kind]:
        instead = "image/png" if kind == "jpeg" else "render=labels"
        raise NotAcceptable(
            f"The picture has {width} x {height} pixels; a {kind.upper()} holds at most {MAX_SIDE[kind]} a side. "
            f"Ask for {instead}."
        )
