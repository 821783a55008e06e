"""Confidence and entropy, compiled by numba when this module is imported; see `adaptseg_serve.uncertainty`.

One output row at a time: no full-size score exists. The exponential is written out, for LLVM then works on eight or
sixteen pixels at once, which it can't do with a call of libm's.
"""

import math

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.tail_kernel import compiled

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_LOG2E = np.float32(1.4426950408889634)
_LOWEST = np.float32(-126.0)
_ROUND = np.float32(12582912.0)  # 1.5 * 2**23: adding and subtracting it rounds to a whole number
_C1, _C2, _C3, _C4, _C5, _C6 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 7))
"""Taylor's coefficients of 2**x, which on -0.5..0.5 are within 2e-7 of it."""


@compiled("void(f4[:, ::1], f4[::1], f4[::1], f4[::1], f4[::1], i4[::1], f4[::1])")
def _accumulate(
    scores: Floats,
    best: Floats,
    total: Floats,
    moment: Floats,
    power: Floats,
    bits: NDArray[np.int32],
    as_float: Floats,
) -> None:
    """Over the classes of `scores` (C, W): best, total = sum(exp d), moment = sum(d exp d), d = score - best.

    `bits` and `as_float` are one buffer, seen as int32 and as float32.
    """
    classes, width = scores.shape
    for x in range(width):
        best[x] = scores[0, x]
        total[x] = np.float32(0)
        moment[x] = np.float32(0)
    for k in range(1, classes):
        for x in range(width):
            best[x] = max(best[x], scores[k, x])
    for k in range(classes):
        for x in range(width):
            t = max((scores[k, x] - best[x]) * _LOG2E, _LOWEST)
            whole = (t + _ROUND) - _ROUND
            f = t - whole
            power[x] = np.float32(1) + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
            bits[x] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        for x in range(width):
            part = power[x] * as_float[x]
            total[x] += part
            moment[x] += part * max(scores[k, x] - best[x], np.float32(-100))


@compiled("void(f4[:, :, ::1], i8[::1], f4[::1], i8[::1], f4[::1], f4[:, ::1], f4[:, ::1])")
def write_uncertainty(
    logits: Floats,
    row_cells: Indices,
    row_weights: Floats,
    column_starts: Indices,
    column_weights: Floats,
    confidence: Floats,
    entropy: Floats,
) -> None:
    """Fill `confidence` and `entropy` (H, W) from finite `logits` (C, h, w); axes as in `tail.Axis`."""
    classes, h, w = logits.shape
    height, width = confidence.shape
    scores, line = np.empty((classes, width), np.float32), np.empty(w + 1, np.float32)
    best, total = np.empty(width, np.float32), np.empty(width, np.float32)
    moment, power = np.empty(width, np.float32), np.empty(width, np.float32)
    bits = np.empty(width, np.int32)
    as_float = bits.view(np.float32)
    scale = np.float32(1 / math.log(max(classes, 2)))
    for y in range(height):
        i, v = row_cells[y], row_weights[y]
        i1 = min(i + 1, h - 1)
        for k in range(classes):
            for j in range(w):
                line[j] = logits[k, i, j] + v * (logits[k, i1, j] - logits[k, i, j])
            line[w] = line[w - 1]
            for j in range(w):
                left, step = line[j], line[j + 1] - line[j]
                for x in range(column_starts[j], column_starts[j + 1]):
                    scores[k, x] = left + column_weights[x] * step
        _accumulate(scores, best, total, moment, power, bits, as_float)
        for x in range(width):
            confidence[y, x] = np.float32(1) / total[x]
            entropy[y, x] = (np.log(total[x]) - moment[x] / total[x]) * scale
