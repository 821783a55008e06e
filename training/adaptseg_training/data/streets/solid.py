"""Solids on the ground that can be turned: points in their own frame, taken to the screen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptseg_training.data.streets.camera import to_pixels
from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.scene import Place
from adaptseg_training.data.streets.stage import Stage


@dataclass(frozen=True)
class Solid:
    """A frame at a place: x to its right, y up, z the way it heads. `eye` is the camera in that frame."""

    stage: Stage
    transform: NDArray[np.float64]
    """(3, 4) float64: own frame -> homogeneous pixel."""
    eye: tuple[float, float]
    sun: tuple[float, float]
    depth: float
    train_id: int

    def polygon(self, corners: ArrayLike, color: Color, sun: float, labelled: bool = True) -> None:
        """Paint a planar polygon (N, 3) in the surface colour `color`, lit by `sun` (0..1)."""
        p = np.asarray(corners, np.float64)
        points = to_pixels(p @ self.transform[:, :3].T + self.transform[:, 3])
        if points is not None:
            shade = self.stage.light.shade(color, sun, self.depth)
            self.stage.canvas.fill(points, shade, self.train_id if labelled else None)

    def lamp(self, corners: ArrayLike, color: Color) -> None:
        """Paint a polygon that shines by itself."""
        p = np.asarray(corners, np.float64)
        points = to_pixels(p @ self.transform[:, :3].T + self.transform[:, 3])
        if points is not None:
            self.stage.canvas.fill(points, color, self.train_id)

    def facing(self, x: float, z: float) -> float:
        """The sun's share on an upright side whose normal is (x, z) in the own frame."""
        return max(0.0, x * self.sun[0] + z * self.sun[1])


def stand(stage: Stage, at: Place, heading: float, train_id: int, size: float = 1.0) -> Solid:
    """The frame of something at `at`, heading so, drawn `size` times as large."""
    c, s = float(np.cos(heading)), float(np.sin(heading))
    turn = size * np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    m = stage.camera.matrix
    transform = np.concatenate([m[:, :3] @ turn, (m[:, :3] @ np.array((at[0], 0.0, at[1])) + m[:, 3])[:, None]], axis=1)
    eye = (-(at[0] * c - at[1] * s) / size, -(at[0] * s + at[1] * c) / size)
    light = stage.light
    sun = (light.sun_x * c - light.sun_z * s, light.sun_x * s + light.sun_z * c)
    return Solid(stage, transform, eye, sun, stage.camera.depth(*at), train_id)
