"""A confusion matrix as a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.sample import Image
from adaptseg_training.metrics import ConfusionMatrix
from adaptseg_training.preview import FONT

_CELL, _NAMES, _TITLE = 40, 130, 28
_LEGEND = "rows: truth   columns: prediction   cells: % of the row's pixels"
_DARK, _WHITE = np.array((8, 48, 107), np.float64), np.array((255, 255, 255), np.float64)


def draw_confusion(names: tuple[str, ...], matrix: ConfusionMatrix) -> Image:
    """(H, W, 3) uint8 RGB: one row for each true class, in percent of its pixels; the diagonal is right.

    Rows of classes without a pixel stay empty. A last column, if needed, holds predictions of none of the classes.
    """
    counts = matrix.counts if matrix.counts[:, -1].any() else matrix.counts[:, :-1]
    columns = [*names, "none"][: counts.shape[1]]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    height, width = _TITLE + _NAMES + _CELL * len(names), _NAMES + _CELL * len(columns)
    picture = np.full((height, max(width, _width(_LEGEND) + 12), 3), 255, np.uint8)
    _write(picture, _LEGEND, (6, 19))
    picture[_TITLE : _TITLE + _NAMES, _NAMES:width] = np.hstack([_upright(name) for name in columns])
    for row, name in enumerate(names):
        y = _TITLE + _NAMES + row * _CELL
        _write(picture, name, (_NAMES - 8 - _width(name), y + _CELL // 2 + 4))
        for column, share in enumerate(shares[row]):
            x = _NAMES + column * _CELL
            picture[y : y + _CELL, x : x + _CELL] = _cell(float(share), right=row == column)
    return picture


def _cell(share: float, right: bool) -> Image:
    """White for 0 and dark blue for 1, with the percentage where it isn't 0; grey for a class without pixels."""
    if np.isnan(share):
        return np.full((_CELL, _CELL, 3), 235, np.uint8)
    color = _WHITE + share * (_DARK - _WHITE)
    cell = np.full((_CELL, _CELL, 3), np.rint(color), np.uint8)
    cell[[0, -1]] = cell[:, [0, -1]] = 120 if right else 225
    if share >= 0.0005:
        text = f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.1f}"
        _write(cell, text, ((_CELL - _width(text)) // 2, _CELL // 2 + 4), 255 if share > 0.45 else 0)
    return cell


def _upright(name: str) -> Image:
    """A column's name, to be read from below."""
    strip = np.full((_CELL, _NAMES, 3), 255, np.uint8)
    _write(strip, name, (8, _CELL // 2 + 4))
    return np.ascontiguousarray(np.rot90(strip))


def _write(picture: NDArray[np.uint8], text: str, place: tuple[int, int], grey: int = 0) -> None:
    cv2.putText(picture, text, place, FONT, 0.4, (grey, grey, grey), 1, cv2.LINE_AA)


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, FONT, 0.4, 1)[0][0])
