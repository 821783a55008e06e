"""From logits to a label map of any size, without ever holding a full-size score."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap


def label_map_from_logits(logits: NDArray[Any], size: tuple[int, int], align_corners: bool = True) -> LabelMap:
    """Argmax over C of `logits` (C, h, w) upsampled bilinearly to `size`, as an (H, W) uint8 label map."""
    from adaptseg_serve.tail_kernel import label_map_into

    scores = np.ascontiguousarray(logits, np.float32)
    _, h, w = scores.shape
    out = np.empty(size, np.uint8)
    label_map_into(scores, *_grid(h, size[0], align_corners), *_grid(w, size[1], align_corners), out)
    return out


def _grid(cells: int, pixels: int, align_corners: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where each cell starts in the output, (cells + 1,); each output pixel's weight of the next cell, (pixels,)."""
    at = np.arange(pixels, dtype=np.float64)
    if align_corners:
        at *= (cells - 1) / max(pixels - 1, 1)
    else:
        at = np.maximum((at + 0.5) * (cells / pixels) - 0.5, 0)
    cell = np.minimum(at.astype(np.int64), cells - 1)
    weights = np.minimum(at - cell, 1).astype(np.float32)
    return np.searchsorted(cell, np.arange(cells + 1)).astype(np.int64), weights
