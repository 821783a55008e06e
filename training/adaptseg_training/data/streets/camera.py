"""A pinhole camera above a flat ground.

World: metres, x right, y up, z forward; the camera stands at (0, height, 0) and looks along z, turned right
by `yaw`. Pitch is a shift of the horizon, so verticals stay vertical, as on a camera mounted level.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
"""(N, 2) float64 screen points (x, y) in pixels, or (N, 3) world points in metres."""

NEAR = 0.6
"""Nothing nearer than this (m) is drawn; polygons are cut there."""


@dataclass(frozen=True)
class Camera:
    """size (height, width) px; focal length px; horizon: row px; height m; yaw rad."""

    size: tuple[int, int]
    focal: float
    horizon: float
    height: float
    yaw: float

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 4) float64: homogeneous world point -> homogeneous pixel, whose third entry is the depth (m)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        center = self.size[1] / 2
        turn = np.array([[c, 0.0, -s, 0.0], [0.0, 1.0, 0.0, -self.height], [s, 0.0, c, 0.0]])
        lens = np.array([[self.focal, 0.0, center], [0.0, -self.focal, self.horizon], [0.0, 0.0, 1.0]])
        return np.asarray(lens @ turn, np.float64)

    def homogeneous(self, points: ArrayLike) -> Points:
        """(N, 3) world points -> (N, 3) float64 homogeneous pixels (u * depth, v * depth, depth)."""
        p = np.asarray(points, np.float64)
        return np.asarray(p @ self.matrix[:, :3].T + self.matrix[:, 3], np.float64)

    def polygon(self, points: ArrayLike) -> Points | None:
        """(N, 3) corners of a planar world polygon -> (M, 2) pixels, cut at NEAR; None when nothing is left."""
        return to_pixels(self.homogeneous(points))

    def depth(self, x: float, z: float) -> float:
        """Distance (m) along the view axis of a point above (x, z)."""
        return float(self.matrix[2, 0] * x + self.matrix[2, 2] * z)

    def scale(self, x: float, z: float) -> float:
        """Pixels per metre at (x, z)."""
        return self.focal / max(self.depth(x, z), NEAR)

    def plane(self, origin: ArrayLike, across: ArrayLike, up: ArrayLike) -> NDArray[np.float64]:
        """(3, 3) float64 homography from (a, b), meaning origin + a * across + b * up, to pixels."""
        p = self.matrix
        columns = (
            p[:, :3] @ np.asarray(across),
            p[:, :3] @ np.asarray(up),
            p[:, :3] @ np.asarray(origin) + p[:, 3],
        )
        return np.stack(columns, axis=1)

    def ground(self, first_row: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """World x, world z and depth (m) of the ground under each pixel from `first_row` down: (R, W) float32."""
        rows = np.arange(first_row, self.size[0], dtype=np.float32)[:, None] + 0.5
        columns = np.arange(self.size[1], dtype=np.float32)[None] + 0.5
        depth = self.focal * self.height / np.maximum(rows - self.horizon, 0.25)
        right = (columns - self.size[1] / 2) * depth / self.focal
        c, s = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
        x, z = c * right + s * depth, -s * right + c * depth
        return x.astype(np.float32), z.astype(np.float32), depth.astype(np.float32)


def to_pixels(corners: Points) -> Points | None:
    """(N, 3) homogeneous corners -> (M, 2) pixels of the part beyond NEAR, None when nothing is left."""
    depth = corners[:, 2]
    if depth.min() < NEAR:
        corners = _cut(corners)
        if len(corners) < 3:
            return None
    return corners[:, :2] / corners[:, 2:]


def _cut(corners: Points) -> Points:
    """Sutherland-Hodgman against the near plane, in homogeneous coordinates."""
    kept: list[NDArray[np.float64]] = []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (there - here) * ((NEAR - here[2]) / (there[2] - here[2])))
    return np.array(kept).reshape(-1, 3)
