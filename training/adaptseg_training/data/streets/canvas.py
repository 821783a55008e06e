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
_LIMIT = 1e6  # corners further out than this (in 1 / 2 ** _BITS px) would overflow OpenCV's fixed point


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
        corners = _fixed_point(points)
        cv2.fillPoly(self.image, [corners], color, cv2.LINE_AA, _BITS)
        if train_id is not None:
            cv2.fillPoly(self.label_map, [corners], train_id, cv2.LINE_8, _BITS)

    def outline(self, points: Points, train_id: int) -> None:
        """Label the polygon (N, 2) px and paint nothing: where annotators label a whole and let its gaps be."""
        cv2.fillPoly(self.label_map, [_fixed_point(points)], train_id, cv2.LINE_8, _BITS)

    def veil(self, points: Points, color: Color, cover: float, train_id: int) -> None:
        """Label the polygon (N, 2) px and paint it with `cover` (0..1) of the colour: bars finer than a pixel."""
        place = self.window(points)
        if place is None:
            return
        rows, columns = place
        under = self.image[rows, columns].copy()
        self.fill(points, color, train_id)
        self.image[rows, columns] = cv2.addWeighted(self.image[rows, columns], cover, under, 1 - cover, 0.0)

    def fill_all(self, polygons: Points, color: Color, train_id: int) -> None:
        """Paint many polygons (K, N, 2) px, which must not overlap, at once."""
        corners = _fixed_point(polygons)
        cv2.fillPoly(self.image, list(corners), color, cv2.LINE_AA, _BITS)
        cv2.fillPoly(self.label_map, list(corners), train_id, cv2.LINE_8, _BITS)

    def window(self, points: Points) -> tuple[slice, slice] | None:
        """Rows and columns of the screen that the points span, None when off screen."""
        height, width = self.label_map.shape
        x0, y0 = np.floor(np.clip(points.min(axis=0), -1, (width, height))).astype(int)
        x1, y1 = np.ceil(np.clip(points.max(axis=0), 0, (width, height))).astype(int)
        rows, columns = slice(max(int(y0), 0), int(y1)), slice(max(int(x0), 0), int(x1))
        return (rows, columns) if rows.stop > rows.start and columns.stop > columns.start else None

    def texture(
        self,
        points: Points,
        homography: NDArray[np.float64],
        texels: Image,
        gain: Color,
        haze: Color,
        train_id: int,
    ) -> None:
        """Paint the polygon with texel * gain + haze; `homography` takes `texels` (h, w, 3) to pixels."""
        place = self.window(points)
        if place is None:
            return
        rows, columns = place
        shape = (columns.stop - columns.start, rows.stop - rows.start)
        shift = np.array([[1.0, 0.0, -columns.start], [0.0, 1.0, -rows.start], [0.0, 0.0, 1.0]])
        warped = cv2.warpPerspective(
            texels, shift @ homography, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        lit = cv2.add(cv2.multiply(warped, scalar(gain)), scalar(haze))
        mask = np.zeros(shape[::-1], np.uint8)
        cv2.fillPoly(mask, [_fixed_point(points - (columns.start, rows.start))], 255, cv2.LINE_8, _BITS)
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
        cv2.fillPoly(mask, [_fixed_point(points - (columns.start, rows.start))], 255, cv2.LINE_8, _BITS)
        warm = cv2.multiply(
            cv2.cvtColor(cv2.bitwise_and(warped, mask), cv2.COLOR_GRAY2RGB),
            scalar((0.9 * strength, 0.72 * strength, 0.42 * strength)),
        )
        self.image[rows, columns] = cv2.add(self.image[rows, columns], warm)

    def paste(
        self,
        sprite: Sprite,
        left_top: tuple[float, float],
        size: tuple[float, float],
        gain: Color,
        haze: Color,
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
        paint, cover, label_cover = (
            np.asarray(cv2.warpAffine(a, matrix, shape), np.uint8) for a in (color, cover, label_cover)
        )
        lit = cv2.multiply(paint, scalar(gain))
        lit = cv2.add(lit, cv2.multiply(cover, scalar(haze) / 255))
        under = cv2.multiply(self.image[rows, columns], cv2.bitwise_not(cover), scale=1 / 255)
        self.image[rows, columns] = cv2.add(under, lit)
        self.label_map[rows, columns][label_cover > 127] = train_id


def scalar(color: Color) -> NDArray[np.float64]:
    """(4,) float64: what OpenCV's arithmetic takes for one number per channel."""
    return np.array((*color, 0.0))


def _fixed_point(points: Points) -> NDArray[np.int32]:
    """(N, 2) px -> (N, 2) int32 in 1 / 2 ** _BITS px, from pixel centres."""
    scaled = points * (1 << _BITS) - (1 << _BITS) / 2
    np.maximum(scaled, -_LIMIT, out=scaled)
    np.minimum(scaled, _LIMIT, out=scaled)
    return scaled.astype(np.int32)


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
        a, b, c = (
            np.asarray(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8) for p in level
        )
        level = (a, b, c)
        levels.append(level)
    return Sprite(tuple(levels))
