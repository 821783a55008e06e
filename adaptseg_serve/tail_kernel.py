"""The sparse tail's loops, compiled by numba when this module is imported (seconds once, then read from a cache).

A *cell* lies between four neighbouring logits. All is in one file, for numba's cache notices changes of this file only.
Importing raises ImportError where numba is missing or disabled; `adaptseg_serve.tail` then takes its NumPy way.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

if numba.config.DISABLE_JIT:
    raise ImportError("numba is told not to compile (NUMBA_DISABLE_JIT)")

LANES = 8
"""Output pixels of one row that are worked on together. `out` and `column_weights` are read up to LANES - 1 elements
past their last, and `out` is given back there what it held: allocate that much more."""

_log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
Floats = NDArray[np.float32]
Ids = NDArray[np.uint8]
Indices = NDArray[np.int64]


def compiled(signature: str) -> Callable[[Function], Function]:
    """Compile now, for one signature, without the GIL; from the cache where a cache can be written.

    numba looks for a writable folder in $NUMBA_CACHE_DIR, beside this file, then in the user's cache; where
    there is none (a read-only image without a home) it raises, and the function is compiled at every start.
    """

    def compile_it(function: Any) -> Any:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except (RuntimeError, OSError) as error:
            _log.warning("no numba cache (%s): set NUMBA_CACHE_DIR to a writable folder for a faster start", error)
            return numba.njit(signature, **options)(function)

    return compile_it


@compiled("void(f4[:, :, ::1], u1[:, ::1])")
def _argmax(logits: Floats, winners: Ids) -> None:
    """Argmax over C of `logits` (C, h, w); a tie goes to the lowest class, NaN never wins over a number."""
    classes, h, w = logits.shape
    best, label = np.empty(w, np.float32), np.empty(w, np.int32)
    for i in range(h):
        for j in range(w):
            best[j] = -np.inf
            label[j] = 0
        for k in range(classes):
            for j in range(w):
                better = logits[k, i, j] > best[j]
                best[j] = logits[k, i, j] if better else best[j]
                label[j] = k if better else label[j]
        for j in range(w):
            winners[i, j] = label[j]


@compiled("i8(f4[:, :, ::1], i8, i8, f4[:, ::1], u1[::1])")
def _candidates(logits: Floats, i: int, j: int, corners: Floats, ids: Ids) -> int:
    """How many classes can win inside cell (i, j); their numbers go to `ids`, their scores to `corners` (C, 4).

    Inside the cell a class never falls below its lowest corner, nor rises above its highest: one whose highest
    is below another's lowest can't win.
    """
    classes, h, w = logits.shape
    i1, j1 = min(i + 1, h - 1), min(j + 1, w - 1)
    floor = np.float32(-np.inf)
    for k in range(classes):
        a, b, c, d = logits[k, i, j], logits[k, i, j1], logits[k, i1, j], logits[k, i1, j1]
        corners[k, 0], corners[k, 1], corners[k, 2], corners[k, 3] = a, b, c, d
        floor = max(floor, min(min(a, b), min(c, d)))
    count = 0
    for k in range(classes):
        a, b, c, d = corners[k, 0], corners[k, 1], corners[k, 2], corners[k, 3]
        corners[count, 0], corners[count, 1], corners[count, 2], corners[count, 3] = a, b, c, d
        ids[count] = k
        count += (a >= floor) | (b >= floor) | (c >= floor) | (d >= floor)
    return count


@intrinsic
def _write_winners(
    context: Any, out: Any, at: Any, weights: Any, x: Any, pixels: Any, lefts: Any, steps: Any, ids: Any, count: Any
) -> Any:
    """For t < min(pixels, LANES): out.flat[at + t] = ids[n], n = argmax of lefts[n] + weights[x + t] * steps[n].

    Written in LLVM's own words, for its vectoriser leaves loops as short as a cell alone; on a processor with
    narrower registers LLVM splits the vectors. A tie goes to the lowest n; NaN never wins.
    """
    byte, float32, index = types.uint8, types.float32, types.int64
    floats = types.Array(float32, 1, "C")
    row = (types.Array(byte, 2, "C"), index, floats, index, index, floats, floats, types.Array(byte, 1, "C"), index)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(argument: int, offset: Any) -> Any:
            array = context.make_array(signature.args[argument])(context, builder, arguments[argument])
            return builder.gep(array.data, [offset])

        def lanes_at(argument: int, offset: Any, kind: Any) -> Any:
            return builder.bitcast(pointer(argument, offset), ir.VectorType(kind, LANES).as_pointer())

        def splat(value: Any) -> Any:
            blank = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
            first = builder.insert_element(blank, value, ir.IntType(32)(0))
            return builder.shuffle_vector(first, blank, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

        _, at, _, x, pixels, _, _, _, count = arguments
        target = lanes_at(0, at, ir.IntType(8))
        before = builder.load(target, align=1)
        weight = builder.load(lanes_at(2, x, ir.FloatType()), align=4)
        lowest = ir.Constant(weight.type, [float("-inf")] * LANES)
        best, label = cgutils.alloca_once_value(builder, lowest), cgutils.alloca_once_value(builder, before)
        with cgutils.for_range(builder, count) as loop:
            left, step, name = (builder.load(pointer(argument, loop.index)) for argument in (5, 6, 7))
            score = builder.fadd(splat(left), builder.fmul(weight, splat(step)))
            better = builder.fcmp_ordered(">", score, builder.load(best))
            builder.store(builder.select(better, score, builder.load(best)), best)
            builder.store(builder.select(better, splat(name), builder.load(label)), label)
        lanes = ir.Constant(ir.VectorType(ir.IntType(64), LANES), list(range(LANES)))
        inside = builder.icmp_signed("<", lanes, splat(pixels))
        builder.store(builder.select(inside, builder.load(label), before), target, align=1)
        return context.get_dummy_value()

    return types.void(*row), build


@compiled("void(f4[:, ::1], u1[::1], i8, f4[::1], i8, i8, f4[::1], i8, i8, f4[:, ::1], u1[:, ::1])")
def _fill_cell(
    corners: Floats,
    ids: Ids,
    count: int,
    row_weights: Floats,
    y0: int,
    y1: int,
    column_weights: Floats,
    x0: int,
    x1: int,
    lines: Floats,
    out: Ids,
) -> None:
    """Write out[y0:y1, x0:x1]. Along an output row a score is a line: `lines` (2, C) holds left end and step."""
    lefts, steps = lines[0], lines[1]
    for y in range(y0, y1):
        weight = row_weights[y]
        for n in range(count):
            lefts[n] = corners[n, 0] + weight * (corners[n, 2] - corners[n, 0])
            steps[n] = corners[n, 1] + weight * (corners[n, 3] - corners[n, 1]) - lefts[n]
        for x in range(x0, x1, LANES):
            _write_winners(out, y * out.shape[1] + x, column_weights, x, x1 - x, lefts, steps, ids, count)


@compiled("void(f4[:, :, ::1], i8[::1], f4[::1], i8[::1], i8[::1], f4[::1], u1[:, ::1])")
def write_label_map(
    logits: Floats,
    row_starts: Indices,
    row_weights: Floats,
    column_starts: Indices,
    column_cells: Indices,
    column_weights: Floats,
    out: Ids,
) -> None:
    """Fill `out` (H, W) with the argmax over C of `logits` (C, h, w) upsampled bilinearly.

    Row cell i lies between logit rows i and min(i + 1, h - 1) and holds output rows row_starts[i] up to
    row_starts[i + 1]; row_weights[y] (0..1) is the lower one's weight at output row y. Columns likewise;
    column_cells[x] is the cell of output column x.
    """
    classes, h, w = logits.shape
    winners = np.empty((h, w), np.uint8)
    _argmax(logits, winners)
    corners, lines = np.empty((classes, 4), np.float32), np.empty((2, classes), np.float32)
    ids = np.empty(classes, np.uint8)
    for i in range(h):
        y0, y1 = row_starts[i], row_starts[i + 1]
        if y0 == y1:
            continue
        for x in range(out.shape[1]):
            out[y0, x] = winners[i, column_cells[x]]
        for y in range(y0 + 1, y1):
            out[y] = out[y0]
        upper, lower = winners[i], winners[min(i + 1, h - 1)]
        for j in range(w):
            x0, x1, j1 = column_starts[j], column_starts[j + 1], min(j + 1, w - 1)
            if x0 == x1 or upper[j] == upper[j1] == lower[j] == lower[j1]:
                continue
            count = _candidates(logits, i, j, corners, ids)
            _fill_cell(corners, ids, count, row_weights, y0, y1, column_weights, x0, x1, lines, out)
