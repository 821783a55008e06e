"""How sure the segmenter is: confidence and entropy of every pixel, from the logits that gave the label map.

Exact means: softmax over the classes of the logits after bilinear upsampling, the same upsampling that the tail
takes the argmax of. It costs an exponential for every class and pixel, hence it is computed only where it is asked
for, after the label map and outside the device's thread. `mean_entropy` is the cheap figure for every frame.
"""

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap
from adaptseg_serve.tail import Axis, Logits, check_logits, lerp

Map = NDArray[np.float32]

_log = logging.getLogger(__name__)

_BLOCK_ROWS = 32
_FINITE = np.float32(1e30)
"""Stands for infinity in a logit: its differences and products stay finite."""


@dataclass(frozen=True)
class Uncertainty:
    """Two maps of the label map's size."""

    confidence: Map
    """(H, W) float32: the largest softmax probability, 1/C (every class alike) to 1."""
    entropy: Map
    """(H, W) float32: -sum(p ln p) / ln C over the softmax p, 0 (sure) to 1 (every class alike); 0 if C is 1."""


def uncertainty_from_logits(logits: Logits, size: tuple[int, int], align_corners: bool = True) -> Uncertainty:
    """Confidence and entropy of the softmax of `logits` (C, h, w), upsampled bilinearly to `size` = (H, W).

    Within 1e-4 of float64 for logits up to a few hundred. A NaN logit counts as minus infinity: a class that can't be.
    Raises ValueError on a shape that the tail refuses, too.
    """
    check_logits(logits, size)
    scores = finite(logits)
    rows, columns = Axis(scores.shape[1], size[0], align_corners), Axis(scores.shape[2], size[1], align_corners)
    return Uncertainty(*_way()(scores, rows, columns))


def to_bytes(values: Map) -> NDArray[np.uint8]:
    """(H, W) float32, 0..1 -> uint8, 255 for 1, to the nearest: how the maps are sent."""
    return (values * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def mean_entropy(logits: Logits) -> float:
    """Mean over the logits' own grid of the softmax's entropy / ln C, 0..1: one figure a frame, about 1 ms.

    An approximation of the mean of `uncertainty_from_logits(...).entropy`: between two sure cells of different
    classes the upsampled scores cross, and pixels there are unsure; the grid hardly sees them, so it is lower.
    """
    check_logits(logits, (1, 1))
    return float(_softmax_figures(finite(logits))[1].mean())


def class_shares(label_map: LabelMap, classes: int) -> NDArray[np.float64]:
    """(classes,) share of each train id in the pixels of a (H, W) label map; they sum to 1."""
    counts = np.bincount(label_map.ravel(), minlength=classes)[:classes]
    return counts / label_map.size


def prepare() -> None:
    """Compile the maps, or read them from the cache, so that the first frame doesn't wait for it."""
    uncertainty_from_logits(np.zeros((2, 2, 2), np.float32), (3, 3))


def finite(logits: Logits) -> NDArray[np.float32]:
    """`logits` as contiguous float32 within +-1e30; NaN becomes the lowest."""
    scores = np.array(logits, np.float32, order="C")
    scores[np.isnan(scores)] = -_FINITE
    return np.clip(scores, -_FINITE, _FINITE, out=scores)


_Way = Callable[[NDArray[np.float32], Axis, Axis], tuple[Map, Map]]


@functools.cache
def _way() -> _Way:
    """The compiled way, or the NumPy way where numba can't be imported."""
    try:
        from adaptseg_serve import uncertainty_kernel
    except ImportError as error:
        _log.warning(
            "confidence and entropy run in NumPy, several times slower (%s). Mend it: pip install numba", error
        )
        return _dense

    def compiled(scores: NDArray[np.float32], rows: Axis, columns: Axis) -> tuple[Map, Map]:
        confidence, entropy = _empty_maps(rows, columns)
        uncertainty_kernel.write_uncertainty(
            scores, rows.cells, rows.weights, columns.starts, columns.weights, confidence, entropy
        )
        return confidence, entropy

    return compiled


def _dense(scores: NDArray[np.float32], rows: Axis, columns: Axis) -> tuple[Map, Map]:
    """Every score of every pixel, a few output rows at a time."""
    confidence, entropy = _empty_maps(rows, columns)
    for y in range(0, rows.pixels, _BLOCK_ROWS):
        block = slice(y, min(y + _BLOCK_ROWS, rows.pixels))
        lines = lerp(scores, 1, rows.cells[block], rows.weights[block])
        found = lerp(lines, 2, columns.cells, columns.weights[: columns.pixels])
        confidence[block], entropy[block] = _softmax_figures(found)
    return confidence, entropy


def _softmax_figures(scores: NDArray[np.float32]) -> tuple[Map, Map]:
    """Confidence and entropy over the first axis. With d = score - best and S = sum(exp d): the softmax's largest
    is 1/S and its entropy ln S - sum(d exp d) / S."""
    below = scores - scores.max(axis=0)
    parts = np.exp(below)
    total = parts.sum(axis=0)
    nats = np.log(total) - (below * parts).sum(axis=0) / total
    return 1 / total, nats / np.float32(math.log(max(len(scores), 2)))


def _empty_maps(rows: Axis, columns: Axis) -> tuple[Map, Map]:
    return np.empty((rows.pixels, columns.pixels), np.float32), np.empty((rows.pixels, columns.pixels), np.float32)
