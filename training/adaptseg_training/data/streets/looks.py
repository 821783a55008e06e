"""Light and weather. A look changes what the camera sees, never what stands where."""

import math
from dataclasses import dataclass

import numpy as np

from adaptseg_training.data.streets.canvas import Color

_SKY_TINT = 255.0


@dataclass(frozen=True)
class Look:
    """The light of one kind of hour and weather; gains are R, G, B factors on surface colours."""

    ambient: Color
    sun: Color
    zenith: Color
    skyline: Color
    white_sky: float
    """Chance that the sky is overexposed to white."""
    clouds: float
    """Contrast of the clouds, 0..1."""
    haze_distance: float
    """Metres after which 63 % of a colour is haze."""
    lamps: float
    """How brightly headlights, street lamps and windows shine, 0..1."""
    wet: float
    """How strongly the road mirrors, 0..1."""
    grain: float
    """Standard deviation of sensor noise, grey levels."""
    saturation: float
    glow: float
    """How much bright areas spill over their surroundings."""


LOOK_TABLE: dict[str, Look] = {
    "day": Look((0.60, 0.62, 0.66), (0.72, 0.66, 0.56), (88, 140, 205), (205, 225, 240), 0.8, 0.35, 900, 0, 0, 2.0, 0.62, 0.12),
    "overcast": Look((0.80, 0.82, 0.85), (0.06, 0.06, 0.06), (186, 194, 202), (226, 230, 233), 0.5, 0.45, 380, 0, 0, 3, 0.65, 0.10),
    "rain": Look((0.55, 0.58, 0.62), (0.0, 0.0, 0.0), (126, 134, 142), (176, 182, 188), 0.1, 0.5, 170, 0.45, 0.6, 4, 0.5, 0.16),
    "dusk": Look((0.23, 0.25, 0.30), (0.05, 0.03, 0.02), (96, 106, 130), (206, 176, 150), 0.0, 0.8, 420, 0.8, 0, 4, 0.6, 0.10),
    "night": Look((0.17, 0.17, 0.20), (0.0, 0.0, 0.0), (10, 12, 22), (44, 38, 40), 0.0, 0.3, 500, 1.0, 0.1, 7, 0.7, 0.3),
}

LOOKS: tuple[str, ...] = tuple(LOOK_TABLE)


@dataclass(frozen=True)
class Light:
    """A look as it falls on one frame: the sun's direction over ground, and this frame's exposure."""

    look: Look
    sun_x: float
    sun_z: float
    exposure: float
    tint: Color
    haze: Color

    def facing(self, normal_x: float, normal_z: float) -> float:
        """Share of the sun's light on an upright surface with that outward normal, 0..1."""
        return max(0.0, normal_x * self.sun_x + normal_z * self.sun_z)

    def gain(self, sun: float) -> Color:
        """R, G, B factors on a surface that gets `sun` (0..1) of the sun's light."""
        a, s, t, e = self.look.ambient, self.look.sun, self.tint, self.exposure
        return (e * t[0] * (a[0] + sun * s[0]), e * t[1] * (a[1] + sun * s[1]), e * t[2] * (a[2] + sun * s[2]))

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
            min(color[0] * g[0] + h[0], 255.0), min(color[1] * g[1] + h[1], 255.0), min(color[2] * g[2] + h[2], 255.0)
        )


def cast_light(look: Look, sun_angle: float, rng: np.random.Generator) -> Light:
    """`sun_angle` (rad): where over the ground the sun stands, 0 ahead, positive to the right."""
    exposure = float(np.exp(rng.normal(0.0, 0.16)))
    warm = float(rng.normal(0.0, 0.03))
    tint = (1.0 + warm, 1.0, 1.0 - warm)
    haze = tuple(min(c * 0.95, _SKY_TINT) for c in look.skyline)
    return Light(look, math.sin(sun_angle), math.cos(sun_angle), exposure, tint, (haze[0], haze[1], haze[2]))
