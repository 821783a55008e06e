"""A look as it falls on one frame: what colours surfaces take."""

import math
from dataclasses import dataclass

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.looks import Look


@dataclass(frozen=True)
class Light:
    """The sun's direction over ground, this frame's exposure and tint (R, G, B), and the colour of its haze."""

    look: Look
    sun_x: float
    sun_z: float
    exposure: float
    fill: float
    """How bright shade is, as a share of what the look says."""
    tint: Color
    haze: Color

    def facing(self, normal_x: float, normal_z: float) -> float:
        """Share of the sun's light on an upright surface with that outward normal, 0..1."""
        return max(0.0, normal_x * self.sun_x + normal_z * self.sun_z)

    def gain(self, sun: float) -> Color:
        """R, G, B factors on a surface that gets `sun` (0..1) of the sun's light."""
        a, s, t, e, f = self.look.ambient, self.look.sun, self.tint, self.exposure, self.fill
        return (
            e * t[0] * (f * a[0] + sun * s[0]),
            e * t[1] * (f * a[1] + sun * s[1]),
            e * t[2] * (f * a[2] + sun * s[2]),
        )

    def mist(self, distance: float) -> float:
        """Share of haze in what is seen at `distance` (m), 0..1."""
        return 1.0 - math.exp(-max(distance, 0.0) / self.look.haze_distance)

    def split(self, sun: float, distance: float) -> tuple[Color, Color]:
        """The factor on colours, and the haze to add, at `distance` (m)."""
        m, g = self.mist(distance), self.gain(sun)
        k, h = 1.0 - m, self.haze
        return (g[0] * k, g[1] * k, g[2] * k), (h[0] * m, h[1] * m, h[2] * m)

    def shade(self, color: Color, sun: float = 0.4, distance: float = 0.0) -> Color:
        """The colour as seen, each channel in 0..255."""
        g, h = self.split(sun, distance)
        return (
            min(color[0] * g[0] + h[0], 255.0),
            min(color[1] * g[1] + h[1], 255.0),
            min(color[2] * g[2] + h[2], 255.0),
        )


def cast_light(look: Look, sun_angle: float, rng: np.random.Generator) -> Light:
    """`sun_angle` (rad): where over the ground the sun stands, 0 ahead, positive to the right."""
    exposure = float(np.exp(rng.normal(0.0, 0.2)))
    warm = float(rng.normal(0.0, 0.03))
    tint = (1.0 + warm, 1.0, 1.0 - warm)
    haze = tuple(0.95 * c for c in look.skyline)
    fill = float(rng.uniform(0.45, 1.1)) if look.sun[0] > 0.5 else 1.0
    return Light(look, math.sin(sun_angle), math.cos(sun_angle), exposure, fill, tint, (haze[0], haze[1], haze[2]))
