"""A label map as people look at it: in the classes' colours, alone or over its image."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap

OPACITY = 0.5
JPEG_QUALITY = 90


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
    """(H, W, 3) uint8 RGB -> bytes of a file."""
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 1] if kind == "png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    assert done, f"OpenCV can't encode {kind}"
    return encoded.tobytes()
