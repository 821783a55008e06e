"""The sparse tail's inner loop, compiled by numba when this module is imported (about 5 s once, then cached).

Importing raises ImportError where numba is missing; `adaptseg_serve.tail` then uses its NumPy fallback.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(signature: str) -> Callable[[Function], Function]:
    """Compile now, for one signature, without the GIL; from the cache where a cache can be written.

    numba looks for a writable folder in $NUMBA_CACHE_DIR, beside this file, then in the user's cache; where
    there is none (a read-only image without a home) it raises, and the function is compiled at every start.
    """

    def compile_it(function: Function) -> Function:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
        try:
            fast: Function = numba.njit(signature, cache=True, **options)(function)
        except (RuntimeError, OSError) as error:
            _log.warning("no numba cache (%s): set NUMBA_CACHE_DIR to a writable folder for a faster start", error)
            fast = numba.njit(signature, **options)(function)
        return fast

    return compile_it


@_compiled("void(f4[:, :, ::1], i8[::1], f4[::1], i8[::1], f4[::1], u1[:, ::1])")
def label_map_into(
    logits: NDArray[np.float32],
    row_starts: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    column_starts: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    """Fill `out` (H, W) with the argmax over C of `logits` (C, h, w) upsampled bilinearly.

    Row cell i spans logit rows i and min(i + 1, h - 1) and output rows row_starts[i] .. row_starts[i + 1] - 1;
    row_weights[y] (0..1) is the weight of the lower one at output row y. Columns likewise.
    """
    classes, h, w = logits.shape
    winners = np.empty((h, w), np.uint8)
    for i in range(h):
        best = logits[0, i].copy()
        label = np.zeros(w, np.uint8)
        for k in range(1, classes):
            for j in range(w):
                if logits[k, i, j] > best[j]:
                    best[j] = logits[k, i, j]
                    label[j] = k
        winners[i] = label
    chosen = np.empty(classes, np.int64)
    for i in range(h):
        y0, y1 = row_starts[i], row_starts[i + 1]
        if y0 == y1:
            continue
        i1 = min(i + 1, h - 1)
        for j in range(w):
            x0, x1 = column_starts[j], column_starts[j + 1]
            if x0 == x1:
                continue
            j1 = min(j + 1, w - 1)
            m0, m1, m2, m3 = winners[i, j], winners[i, j1], winners[i1, j], winners[i1, j1]
            if m0 == m1 == m2 == m3:
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        out[y, x] = m0
                continue
            count = 0
            for k in range(classes):
                a, b, c, d = logits[k, i, j], logits[k, i, j1], logits[k, i1, j], logits[k, i1, j1]
                keep = True
                for m in (m0, m1, m2, m3):
                    keep &= (
                        (a >= logits[m, i, j])
                        | (b >= logits[m, i, j1])
                        | (c >= logits[m, i1, j])
                        | (d >= logits[m, i1, j1])
                    )
                if keep:
                    chosen[count] = k
                    count += 1
            for y in range(y0, y1):
                wy = row_weights[y]
                for x in range(x0, x1):
                    wx = column_weights[x]
                    best_score = np.float32(-np.inf)
                    best_label = np.int64(m0)
                    for n in range(count):
                        k = chosen[n]
                        left = logits[k, i, j] + wy * (logits[k, i1, j] - logits[k, i, j])
                        right = logits[k, i, j1] + wy * (logits[k, i1, j1] - logits[k, i, j1])
                        score = left + wx * (right - left)
                        if score > best_score:
                            best_score = score
                            best_label = k
                    out[y, x] = best_label
