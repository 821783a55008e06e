"""Wheels, and what a car shows at either end: bumper, lights, grille, plate."""

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.scene import Vehicle
from adaptseg_training.data.streets.solid import Solid
from adaptseg_training.data.streets.vehicle_shapes import Shape

_TYRE: Color = (22, 22, 23)
_CIRCLE = np.linspace(0, 2 * np.pi, 12, endpoint=False)


def wheel(solid: Solid, x: float, z: float, radius: float) -> None:
    ring = np.stack([np.full(12, x * 1.005), radius + np.sin(_CIRCLE) * radius, z + np.cos(_CIRCLE) * radius], axis=1)
    center = np.array([x, radius, z])
    solid.polygon(center + (ring - center) * (1, 1.25, 1.25) + (0, 0.03, 0), (20, 20, 21), 0.0)
    solid.polygon(ring, _TYRE, 0.2)
    solid.polygon(center + (ring - center) * 0.62 + (x * 0.01, 0, 0), (126, 128, 132), 0.3)
    if solid.depth < 18:
        solid.polygon(center + (ring - center) * 0.2 + (x * 0.01, 0, 0), (60, 60, 62), 0.2)


def _rect(z: float, left: float, right: float, low: float, high: float) -> NDArray[np.float64]:
    return np.array([(left, low, z), (right, low, z), (right, high, z), (left, high, z)])


def end(solid: Solid, shape: Shape, car: Vehicle, front: bool) -> None:
    """The rear or the front: panel, bumper, lights, plate."""
    sign = 1.0 if front else -1.0
    z = (shape.front if front else shape.rear) + 0.03 * sign
    top = shape.body[-3][1] if front else shape.body[2][1]
    w, sun, foot = shape.half_width * 0.97, solid.facing(0.0, sign), shape.body[0][1] - 0.02
    solid.polygon(_rect(z, -w, w, foot, top), scaled(car.color, 0.86), sun)
    solid.polygon(_rect(z, -w, w, foot + 0.55 * (top - foot), top), car.color, 0.15 + 0.8 * sun)
    solid.polygon(_rect(z, -w, w, foot, foot + 0.14), (34, 34, 36), 0.3)
    if front:
        _face(solid, z, w, top)
    else:
        _tail(solid, z, w, top, car)
    plate: Color = (206, 196, 120) if car.scale > 1 else (216, 216, 210)
    solid.polygon(_rect(z, -0.26, 0.26, foot + 0.2, foot + 0.32), plate, 0.4)


def _face(solid: Solid, z: float, w: float, top: float) -> None:
    solid.polygon(_rect(z, -w * 0.55, w * 0.55, top - 0.28, top - 0.1), (30, 31, 33), 0.2)
    lamps = solid.stage.light.look.lamps
    for hand in (-1, 1):
        box = _rect(z, hand * w * 0.95, hand * w * 0.58, top - 0.24, top - 0.06)
        if lamps > 0:
            solid.lamp(box, (250, 246, 226))
        else:
            solid.polygon(box, (196, 200, 204), 0.6)


def _tail(solid: Solid, z: float, w: float, top: float, car: Vehicle) -> None:
    lamps, braking = solid.stage.light.look.lamps, car.braking and not car.parked
    for hand in (-1, 1):
        box = _rect(z, hand * w * 0.97, hand * w * 0.7, top - 0.36, top - 0.04)
        if lamps > 0 and not car.parked:
            solid.lamp(box, (250, 70, 50) if braking else (190, 30, 26))
        else:
            solid.polygon(box, (200, 40, 34) if braking else (128, 26, 26), 0.5)
    solid.polygon(_rect(z, -w * 0.6, w * 0.6, top - 0.06, top - 0.03), scaled(car.color, 0.5), 0.3)
