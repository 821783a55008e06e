"""What drawing needs: the camera, the canvas and the light, and two ways to paint through them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptseg_training.data.streets.camera import Camera
from adaptseg_training.data.streets.canvas import Canvas, Color
from adaptseg_training.data.streets.light import Light
from adaptseg_training.data.streets.scene import Place


@dataclass(frozen=True)
class Stage:
    camera: Camera
    canvas: Canvas
    light: Light

    def polygon(self, corners: ArrayLike, color: Color, train_id: int | None) -> None:
        """Paint a planar world polygon (N, 3) with a colour as seen (shaded already)."""
        points = self.camera.polygon(corners)
        if points is not None:
            self.canvas.fill(points, color, train_id)

    def cutout(self, at: Place) -> "Cutout | None":
        """A sheet that stands at `at` and faces the camera; None behind the camera."""
        depth = self.camera.depth(*at)
        if depth < 1.0:
            return None
        corner = self.camera.homogeneous([(at[0], 0.0, at[1])])[0]
        return Cutout(self.canvas, float(corner[0] / depth), float(corner[1] / depth), self.camera.focal / depth, depth)


@dataclass(frozen=True)
class Cutout:
    """Screen position (px) of a place on the ground, and pixels per metre there; x right, y up in metres."""

    canvas: Canvas
    x: float
    y: float
    scale: float
    depth: float

    def polygon(self, corners: ArrayLike, color: Color, train_id: int | None) -> None:
        """Paint the polygon (N, 2), metres on the sheet."""
        self.canvas.fill(
            np.asarray(corners, np.float64) * (self.scale, -self.scale) + (self.x, self.y), color, train_id
        )

    def bar(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        width: float,
        color: Color,
        train_id: int | None,
    ) -> None:
        """Paint a bar between two points, `width` metres thick."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        k = 0.5 * width / max((dx * dx + dy * dy) ** 0.5, 1e-6)
        nx, ny = -dy * k, dx * k
        self.polygon(
            [
                (start[0] + nx, start[1] + ny),
                (end[0] + nx, end[1] + ny),
                (end[0] - nx, end[1] - ny),
                (start[0] - nx, start[1] - ny),
            ],
            color,
            train_id,
        )

    def disc(
        self,
        center: tuple[float, float],
        radius: float,
        color: Color,
        train_id: int | None,
        squeeze: float = 1.0,
    ) -> None:
        """Paint an ellipse, `squeeze` times as wide as tall."""
        self.polygon(_ROUND * (radius * squeeze, radius) + center, color, train_id)


_ANGLES = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_ROUND: NDArray[np.float64] = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
