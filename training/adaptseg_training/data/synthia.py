"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): 9 400 rendered frames of 1280 x 760.

Layout of the archive RAND_CITYSCAPES (its README): RGB/0000000.png ..., and of the same names GT/LABELS/*.png:
16-bit PNGs of three channels, the class in the first (red), an instance number in the second. A reader that
makes 8 bits of them keeps the upper byte, which is 0 for every class, so this one insists on 16.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import SYNTHIA_IDS
from adaptseg_training.data.listing import Listing, beside, image_files
from adaptseg_training.data.sample import read_pixels
from adaptseg_training.errors import DataError

_LAYOUT = "SYNTHIA-RAND-CITYSCAPES is expected as its archive unpacks: RGB/0000000.png ..., GT/LABELS/0000000.png ..."


def list_synthia(root: Path, split: str) -> Listing:
    """All frames; there are no splits."""
    if split:
        raise ConfigError(f"synthia has no splits; {split!r} was asked for. Choose a part by first, every and count.")
    images = image_files(root / "RGB", _LAYOUT)
    return Listing(tuple(images), beside(images, root / "GT" / "LABELS", SYNTHIA_IDS, read_ids=read_synthia_ids))


def read_synthia_ids(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 label ids of a 16-bit three-channel PNG. DataError names a file that is none."""
    pixels = read_pixels(path, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DataError(
            f"{path} holds {pixels.dtype} of shape {pixels.shape}; SYNTHIA's labels are 16-bit PNGs of three "
            "channels. If a tool has rewritten them, unpack the archive again."
        )
    classes = pixels[..., 2]  # OpenCV's order is blue, green, red
    if classes.max() > 255:
        raise DataError(f"{path} has a class {classes.max()} in its red channel; SYNTHIA's are 0..22. Unpack it again.")
    return np.ascontiguousarray(classes, dtype=np.uint8)
