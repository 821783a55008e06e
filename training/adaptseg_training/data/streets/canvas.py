"""Where everything is drawn: each primitive paints the image and the label map together."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.camera import Points

Color = tuple[float, float, float]
"""R, G, B in 0..255."""

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, or (H, W) uint8."""

_BITS = 4  # sub-pixel bits of polygon corners
_FAR_OUT = 60_000.0  # corners further out than this (px) would overflow OpenCV's fixed point


@dataclass(frozen=True)
class Sprite:
    """A cut-out: (H, W, 3) uint8 colours already multiplied by coverage, (H, W, 3) uint8 coverage, (H, W) uint8 label
    coverage (where an annotator would outline it), at halving sizes."""

    levels: tuple[tuple[Image, Image, Image], ...]


@dataclass(frozen=True)
class Canvas:
    """image (H, W, 3) uint8 RGB and label_map (H, W) uint8, painted in place."""

    image: Image
    label_map: Image

    def fill(self, points: Points, color: Color, train_id: int | None = None) -> None:
        """Paint the polygon (N, 2) px; the label map only where `train_id` is given."""
        low, high = points.min(axis=0), points.max(axis=0)
        height, width = self.label_map.shape
        if high[0] < 0 or high[1] < 0 or low[0] > width or low[1] > height:
            return
        corners = (np.clip(points - 0.5, -_FAR_OUT, _FAR_OUT) * (1 << _BITS)).astype(np.int32)
        cv2.fillPoly(self.image, [corners], color, cv2.LINE_AA, _BITS)
        if train_id is not None:
            cv2.fillPoly(self.label_map, [corners], train_id, cv2.LINE_8, _BITS)

    def window(self, points: Points) -> tuple[slice, slice] | None:
        """Rows and columns of the screen that the points span, None when off screen."""
        height, width = self.label_map.shape
        x0, y0 = np.floor(np.clip(points.min(axis=0), -1, (width, height))).astype(int)
        x1, y1 = np.ceil(np.clip(points.max(axis=0), 0, (width, height))).astype(int)
        rows, columns = slice(max(int(y0), 0), int(y1)), slice(max(int(x0), 0), int(x1))
        return (rows, columns) if rows.stop > rows.start and columns.stop > columns.start else None

    def texture(
        self, points: Points, homography: NDArray[np.float64], texels: Image, gain: Color, haze: Color, train_id: int
    ) -> None:
        """Paint the polygon with `texels` (h, w, 3), seen through `homography` (texel -> pixel): texel * gain + haze."""
        place = self.window(points)
        if place is None:
            return
        rows, columns = place
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        shift = np.array([[1.0, 0.0, -columns.start], [0.0, 1.0, -rows.start], [0.0, 0.0, 1.0]])
        warped = cv2.warpPerspective(
            texels, shift @ homography, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        lit = cv2.add(cv2.multiply(warped, (*gain, 0.0)), (*haze, 0.0))
        mask = np.zeros(shape[::-1], np.uint8)
        corners = np.clip(points - (columns.start, rows.start) - 0.5, -_FAR_OUT, _FAR_OUT) * (1 << _BITS)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_8, _BITS)
        cv2.copyTo(lit, mask, self.image[rows, columns])
        self.label_map[rows, columns][mask > 0] = train_id

    def glow(self, points: Points, homography: NDArray[np.float64], lit: Image, strength: float) -> None:
        """Add lamplight, `lit` (h, w) seen through `homography`, within the polygon; the label map stays."""
        place = self.window(points)
        if place is None:
            return
        rows, columns = place
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        shift = np.array([[1.0, 0.0, -columns.start], [0.0, 1.0, -rows.start], [0.0, 0.0, 1.0]])
        warped = cv2.warpPerspective(lit, shift @ homography, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        mask = np.zeros(shape[::-1], np.uint8)
        corners = np.clip(points - (columns.start, rows.start) - 0.5, -_FAR_OUT, _FAR_OUT) * (1 << _BITS)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_8, _BITS)
        warm = cv2.multiply(cv2.cvtColor(cv2.bitwise_and(warped, mask), cv2.COLOR_GRAY2RGB), (0.9 * strength, 0.72 * strength, 0.42 * strength, 0.0))
        self.image[rows, columns] = cv2.add(self.image[rows, columns], warm)

    def paste(
        self, sprite: Sprite, left_top: tuple[float, float], size: tuple[float, float], gain: Color, haze: Color,
        train_id: int,
    ) -> None:
        """Paint `sprite` over the box at `left_top` (x, y) of `size` (height, width) px: colour * gain + haze."""
        (x, y), (height, width) = left_top, size
        place = self.window(np.array([[x, y], [x + width, y + height]]))
        if place is None:
            return
        rows, columns = place
        color, cover, label_cover = _level(sprite, height)
        zoom_x, zoom_y = width / color.shape[1], height / color.shape[0]
        matrix = np.array([[zoom_x, 0.0, x - columns.start], [0.0, zoom_y, y - rows.start]])
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        paint, cover, label_cover = (np.asarray(cv2.warpAffine(a, matrix, shape), np.uint8) for a in (color, cover, label_cover))
        lit = cv2.multiply(paint, (*gain, 0.0))
        lit = cv2.add(lit, cv2.multiply(cover, (*(h / 255 for h in haze), 0.0)))
        under = cv2.multiply(self.image[rows, columns], cv2.bitwise_not(cover), scale=1 / 255)
        self.image[rows, columns] = cv2.add(under, lit)
        self.label_map[rows, columns][label_cover > 127] = train_id


def _level(sprite: Sprite, height: float) -> tuple[Image, Image, Image]:
    """The smallest level at least about as tall as it will be drawn."""
    for level in reversed(sprite.levels):
        if level[0].shape[0] >= 0.75 * height:
            return level
    return sprite.levels[0]


def make_sprite(color: Image, cover: Image, label_cover: Image) -> Sprite:
    """From (H, W, 3) colours, (H, W) coverage and (H, W) label coverage, all uint8."""
    cover3 = np.repeat(cover[:, :, None], 3, axis=2)
    level = (np.asarray(cv2.multiply(color, cover3, scale=1 / 255), np.uint8), cover3, label_cover)
    levels = [level]
    while min(level[0].shape[:2]) >= 16:
        a, b, c = (np.asarray(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8) for p in level)
        level = (a, b, c)
        levels.append(level)
    return Sprite(tuple(levels))
