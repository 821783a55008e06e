"""Label files whose classes are colours."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.sample import Image, read_image

MOST = 254
"""More colours can't be numbered."""
UNKNOWN = 254
"""Label id of a colour that has none."""
_MOST_NAMED = 5


def parse_color(text: str) -> tuple[int, int, int] | None:
    """ "#804080" or "128,64,128" -> (128, 64, 128); None for anything else."""
    if found := re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text):
        red, green, blue = (int(part, 16) for part in found.groups())
    elif found := re.fullmatch(r"(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", text):
        red, green, blue = map(int, found.groups())
    else:
        return None
    return (red, green, blue) if max(red, green, blue) < 256 else None


class ColorReader:
    """Label file -> (H, W) uint8: the number of each pixel's colour among `colors`, `UNKNOWN` for any other.

    `colors` are at most `MOST` and differ.
    """

    def __init__(self, colors: Sequence[tuple[int, int, int]]) -> None:
        codes = _codes(np.array([colors], np.uint8))[0]
        self._order = np.argsort(codes)
        self._sorted = codes[self._order]

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        codes = _codes(read_image(path))
        places = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        return np.where(self._sorted[places] == codes, self._order[places], UNKNOWN).astype(np.uint8)

    def unknown(self, path: Path, ids: Sequence[int]) -> list[str]:
        """The first colours of the file that have no number, as "#804080"."""
        codes = np.unique(_codes(read_image(path)))
        strange = [f"#{code:06x}" for code in codes[~np.isin(codes, self._sorted)]]
        return strange[:_MOST_NAMED] + (["..."] if len(strange) > _MOST_NAMED else [])


def _codes(image: Image) -> NDArray[np.uint32]:
    """(H, W) uint32: red, green and blue as one number."""
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    return (red << np.uint32(16)) | (green << np.uint32(8)) | blue
