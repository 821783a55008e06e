"""The tail: from logits to a label map of any size, exactly, without ever holding a full-size score.

Bilinear weights are never negative and sum to 1, so where the four logits around a cell have one argmax, that is
the argmax everywhere inside; only the other cells (a tenth to two fifths of a road scene) need arithmetic, and
there only for the classes that can win. `benchmarks/tail.py` compares it with the dense ways.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import IGNORE_ID, LabelMap

Logits = NDArray[np.float32] | NDArray[np.float16]
"""(C, h, w) class scores at the network's own resolution."""

_log = logging.getLogger(__name__)

# More than the kernel's LANES - 1: it reads and rewrites that many elements past the last.
_SLACK = 8
_BLOCK_ROWS = 32


def label_map_from_logits(logits: Logits, size: tuple[int, int], align_corners: bool = True) -> LabelMap:
    """(H, W) uint8 argmax over C of `logits` (C, h, w), C <= 255, upsampled bilinearly to `size` = (H, W).

    Equal to torch's interpolate + argmax in float64 but where the two best scores are within rounding (1e-4);
    exact ties go to the lowest train id. NaN never wins; where logits are NaN or infinite, the pixels of the cells
    that touch them hold some train id below C, and all others are right.
    """
    check_logits(logits, size)
    scores = np.ascontiguousarray(logits, np.float32)
    return _way()(scores, Axis(scores.shape[1], size[0], align_corners), Axis(scores.shape[2], size[1], align_corners))


def check_logits(logits: Logits, size: tuple[int, int]) -> None:
    """ValueError unless `logits` is (C, h, w) with 1 <= C <= 255 and nothing has size 0."""
    if logits.ndim != 3 or not 0 < len(logits) <= IGNORE_ID or min(*logits.shape, *size) < 1:
        raise ValueError(f"logits {logits.shape} to {size}: expected (C, h, w) with 1 <= C <= {IGNORE_ID}, no size 0")


def prepare() -> None:
    """Compile the tail, or read it from the cache, so that the first frame doesn't wait for it."""
    label_map_from_logits(np.zeros((2, 2, 2), np.float32), (3, 3))


class Axis:
    """Where output pixels lie among the logits of one axis; coordinates are computed in float64."""

    def __init__(self, logits: int, pixels: int, align_corners: bool) -> None:
        at = np.arange(pixels, dtype=np.float64)
        if align_corners:
            at *= (logits - 1) / max(pixels - 1, 1)
        else:
            at = np.clip((at + 0.5) * (logits / pixels) - 0.5, 0, logits - 1)
        self.pixels = pixels
        self.cells: NDArray[np.int64] = np.minimum(at.astype(np.int64), logits - 1)
        """(pixels,) the cell of each output pixel: between logit `cell` and the next, or at the last logit."""
        self.weights = np.zeros(pixels + _SLACK, np.float32)
        """(pixels + slack,) weight, 0..1, of the next logit."""
        self.weights[:pixels] = at - self.cells
        self.starts: NDArray[np.int64] = np.searchsorted(self.cells, np.arange(logits + 1)).astype(np.int64)
        """(logits + 1,) the first output pixel of each cell."""


@functools.cache
def _way() -> Callable[[NDArray[np.float32], Axis, Axis], LabelMap]:
    """The compiled way, or the NumPy way where numba can't be imported."""
    try:
        from adaptseg_serve import tail_kernel
    except ImportError as error:
        _log.warning("the tail runs in NumPy, about 100 times slower (%s). Mend it: pip install numba", error)
        return _dense

    def sparse(logits: NDArray[np.float32], rows: Axis, columns: Axis) -> LabelMap:
        area = rows.pixels * columns.pixels
        out = np.empty(area + _SLACK, np.uint8)[:area].reshape(rows.pixels, columns.pixels)
        tail_kernel.write_label_map(
            logits, rows.starts, rows.weights, columns.starts, columns.cells, columns.weights, out
        )
        return out

    return sparse


def _dense(logits: NDArray[np.float32], rows: Axis, columns: Axis) -> LabelMap:
    """Every score of every pixel, a few output rows at a time."""
    out = np.empty((rows.pixels, columns.pixels), np.uint8)
    for y in range(0, rows.pixels, _BLOCK_ROWS):
        block = slice(y, min(y + _BLOCK_ROWS, rows.pixels))
        lines = lerp(logits, 1, rows.cells[block], rows.weights[block])
        scores = lerp(lines, 2, columns.cells, columns.weights[: columns.pixels])
        out[block] = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=0)
    return out


def lerp(
    values: NDArray[np.float32], axis: int, cells: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(C, h, w) `values` interpolated along `axis` at `cells` + `weights`, 0 <= weight < 1."""
    here = values.take(cells, axis)
    after: Any = values.take(np.minimum(cells + 1, values.shape[axis] - 1), axis)
    shape = [1, 1, 1]
    shape[axis] = -1
    found: NDArray[np.float32] = here + weights.reshape(shape) * (after - here)
    return found
