"""What stands where: plain data between the layout, which makes it up, and the drawing, which shows it.

Metres throughout. Headings (rad) are over ground, 0 along +z (away from the camera), positive to the right.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from adaptseg_training.data.streets.camera import Points
from adaptseg_training.data.streets.canvas import Color

Surface = Literal["road", "sidewalk", "terrain", "ignore"]
Place = tuple[float, float]
"""(x, z) over ground."""


@dataclass(frozen=True)
class Building:
    """A box: its front runs from `corner` along `front` (a vector); it reaches `depth` to the front's left."""

    corner: Place
    front: Place
    depth: float
    facade: int
    roof: Literal["flat", "pitched"]
    tint: Color
    roof_color: Color
    chimneys: int


@dataclass(frozen=True)
class Plant:
    """A tree or bush: which of the sprites, and how tall and wide."""

    at: Place
    height: float
    width: float
    kind: Literal["broadleaf", "conifer", "bare", "bush"]
    variant: int
    tint: Color


@dataclass(frozen=True)
class Barrier:
    """A straight piece of wall, hedge or fence between two places."""

    start: Place
    end: Place
    height: float
    kind: Literal["wall", "hedge", "railing", "guardrail", "boards"]
    color: Color


@dataclass(frozen=True)
class Vehicle:
    at: Place
    heading: float
    kind: Literal["hatchback", "sedan", "estate", "suv", "van", "truck", "bus"]
    color: Color
    scale: float
    braking: bool
    parked: bool


@dataclass(frozen=True)
class Person:
    at: Place
    height: float
    coat: Color
    legs: Color
    stride: float
    bag: bool


@dataclass(frozen=True)
class TwoWheeler:
    at: Place
    heading: float
    kind: Literal["bicycle", "motorcycle"]
    coat: Color
    frame: Color
    ridden: bool


@dataclass(frozen=True)
class Post:
    """Anything on a thin upright: `arm` (m, signed) reaches sideways at the top."""

    at: Place
    height: float
    kind: Literal["lamp", "plain", "signals", "sign", "bollard", "bin", "beacon"]
    arm: float
    color: Color
    variant: int


Thing = Building | Plant | Barrier | Vehicle | Person | TwoWheeler | Post


@dataclass(frozen=True)
class Patch:
    """A polygon (N, 3) on the ground: bare surface, or a marking when `label` is None."""

    outline: Points
    color: Color
    label: Surface | None = None


@dataclass(frozen=True)
class Road:
    """The road's centre line is x = curve * z^2 / 2; `left` and `right` are its edges (m) from the camera."""

    curve: float
    left: float
    right: float

    def at(self, s: float, d: float) -> Place:
        return (d + 0.5 * self.curve * s * s, s)

    def heading(self, s: float) -> float:
        return float(np.arctan(self.curve * s))

    def strip(self, s: tuple[float, float], d: tuple[float, float]) -> Points:
        """Ground polygon (N, 3) that follows the road from s[0] to s[1] between the offsets d[0] and d[1]."""
        count = 2 if self.curve == 0 or s[1] - s[0] < 5 else 16
        along = s[0] + (s[1] - s[0]) * np.linspace(0, 1, count) ** 1.6
        bend = 0.5 * self.curve * along**2
        x = np.concatenate([bend + d[0], (bend + d[1])[::-1]])
        z = np.concatenate([along, along[::-1]])
        return np.stack([x, np.zeros_like(x), z], axis=1)


@dataclass(frozen=True)
class View:
    """The camera, free of the picture's size: focal per sqrt(area), horizon as a share of the height."""

    focal: float
    horizon: float
    height: float
    yaw: float
    bonnet: float
    """Share of the picture's height hidden by the car's own bonnet."""


@dataclass
class Scene:
    """One frame's street; `things` in no order, `patches` in painting order."""

    view: View
    road: Road
    sun_angle: float
    mirrored: bool
    backdrop: Literal["skyline", "woods", "hills"]
    asphalt: Color
    paving: Color
    grass: Color
    patches: list[Patch] = field(default_factory=list)
    markings: list[Patch] = field(default_factory=list)
    shadows: list[Points] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
