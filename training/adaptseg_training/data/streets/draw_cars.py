"""Cars and vans: a body and a glasshouse between two side outlines, with wheels, windows, lights and plates."""

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.ids import CAR
from adaptseg_training.data.streets.palette import mixed, scaled
from adaptseg_training.data.streets.scene import Vehicle
from adaptseg_training.data.streets.solid import Solid, stand
from adaptseg_training.data.streets.stage import Stage
from adaptseg_training.data.streets.vehicle_shapes import SHAPES, Shape

_GLASS: Color = (34, 38, 44)
_TYRE: Color = (22, 22, 23)
_CIRCLE = np.linspace(0, 2 * np.pi, 12, endpoint=False)


def draw_car(stage: Stage, car: Vehicle) -> None:
    solid = stand(stage, car.at, car.heading, CAR, car.scale)
    shape = SHAPES[car.kind]
    if solid.depth < -1 or (solid.depth < 4 and abs(solid.eye[0]) < 1.2):
        return
    _shadow(solid, shape)
    near = 1.0 if solid.eye[0] > 0 else -1.0
    _top(solid, shape, car.color)
    _glasshouse(solid, shape, car, near)
    if abs(solid.eye[0]) > shape.half_width:
        _side(solid, shape, car, near)
    _end(solid, shape, car, front=solid.eye[1] > 0)


def _shadow(solid: Solid, shape: Shape) -> None:
    """The dark under the car; a little wider than it, and not the car's own."""
    w, low, high = shape.half_width + 0.12, shape.rear - 0.15, shape.front + 0.15
    solid.polygon([(-w, 0.0, low), (w, 0.0, low), (w, 0.0, high), (-w, 0.0, high)], (38, 38, 40), 0.0, labelled=False)
    w -= 0.2
    floor = shape.body[0][1] + 0.04
    z = low + 0.3 if solid.eye[1] < 0 else high - 0.3
    solid.polygon([(-w, 0.06, z), (w, 0.06, z), (w, floor, z), (-w, floor, z)], (16, 16, 17), 0.0)


def _band(z: tuple[float, float], y: tuple[float, float], half: tuple[float, float]) -> NDArray[np.float64]:
    """A strip across the car between two (z, y) edges, each so many half-widths wide."""
    return np.array([(-half[0], y[0], z[0]), (half[0], y[0], z[0]), (half[1], y[1], z[1]), (-half[1], y[1], z[1])])


def _top(solid: Solid, shape: Shape, paint: Color) -> None:
    """Bonnet and boot lid: they mirror the sky, so they are lighter."""
    w = shape.half_width
    for (z0, y0), (z1, y1) in zip(shape.body[2:-2], shape.body[3:-1], strict=True):
        solid.polygon(_band((z0, z1), (y0, y1), (w * 0.97, w * 0.93)), mixed(paint, (200, 205, 210), 0.18), 0.6)


def _glasshouse(solid: Solid, shape: Shape, car: Vehicle, near: float) -> None:
    (z0, y0), (z1, y1), (z2, y2), (z3, y3) = shape.cabin
    low, high = shape.half_width * 0.95, shape.half_width * 0.76
    roof = mixed(car.color, (200, 205, 210), 0.2)
    solid.polygon(_band((z1, z2), (y1, y2), (high, high)), roof, 0.6)
    closed = car.kind == "van"
    if solid.eye[1] > 0:
        _screen(solid, (z3, z2), (y3, y2), (low, high), car.color, False)
    else:
        _screen(solid, (z0, z1), (y0, y1), (low, high), car.color, closed and car.color[0] > 120)
    if abs(solid.eye[0]) < shape.half_width * 0.8:
        return
    sun = solid.facing(near, 0.0)
    frame = np.array([(near * low, y0, z0), (near * high, y1, z1), (near * high, y2, z2), (near * low, y3, z3)])
    solid.polygon(frame, scaled(car.color, 0.92), sun)
    middle = frame.mean(axis=0)
    if closed:
        frame = np.array([(near * low, y0, 0.3), (near * high, y1 - 0.1, 0.3), (near * high, y2 - 0.1, z2), (near * low, y3, z3)])
        middle = frame.mean(axis=0)
    glass = middle + (frame - middle) * (0.86, 0.74, 0.86)
    solid.polygon(glass, mixed(_GLASS, (150, 160, 170), 0.15), 0.3)
    for z in (0.15,) if closed else (0.1, -0.85):
        if z0 < z < z3:
            pillar = [(near * low, y0, z - 0.05), (near * high, y1, z - 0.05), (near * high, y1, z + 0.05), (near * low, y0, z + 0.05)]
            solid.polygon(pillar, scaled(car.color, 0.6), sun)


def _screen(
    solid: Solid, z: tuple[float, float], y: tuple[float, float], half: tuple[float, float], paint: Color, closed: bool
) -> None:
    """Windscreen or rear window, the sky mirrored in its upper part."""
    solid.polygon(_band(z, y, half), scaled(paint, 0.9), 0.4)
    if closed:
        return
    a, b, c = 0.1, 0.5, 0.9

    def at(k: float, pair: tuple[float, float]) -> float:
        return pair[0] + (pair[1] - pair[0]) * k

    inner = (half[0] - 0.07, half[1] - 0.06)
    solid.polygon(_band((at(a, z), at(b, z)), (at(a, y), at(b, y)), (at(a, inner), at(b, inner))), _GLASS, 0.3)
    upper = mixed(_GLASS, (150, 165, 180), 0.22)
    solid.polygon(_band((at(b, z), at(c, z)), (at(b, y), at(c, y)), (at(b, inner), at(c, inner))), upper, 0.4)


def _side(solid: Solid, shape: Shape, car: Vehicle, near: float) -> None:
    x, sun = near * shape.half_width, solid.facing(near, 0.0)
    outline = np.array([(x, y, z) for z, y in shape.body])
    solid.polygon(outline, scaled(car.color, 0.78), sun)
    waist = shape.body[2][1]
    upper = outline.copy()
    upper[:, 1] = np.maximum(upper[:, 1], 0.62 * waist)
    solid.polygon(upper, scaled(car.color, 1.0), 0.15 + 0.85 * sun)
    sill = np.array([(x, 0.24, shape.rear + 0.2), (x, 0.36, shape.rear), (x, 0.36, shape.front), (x, 0.24, shape.front - 0.2)])
    solid.polygon(sill, scaled(car.color, 0.4), 0.3 * sun)
    for z in shape.wheels[:2]:
        _wheel(solid, x, z, shape.wheels[2])
    if solid.depth < 25:
        for z in (-0.95, 0.08, 0.98):
            solid.polygon([(x, 0.4, z), (x, waist, z), (x, waist, z + 0.025), (x, 0.4, z + 0.025)], scaled(car.color, 0.5), sun)


def _wheel(solid: Solid, x: float, z: float, radius: float) -> None:
    ring = np.stack([np.full(12, x * 1.005), radius + np.sin(_CIRCLE) * radius, z + np.cos(_CIRCLE) * radius], axis=1)
    center = np.array([x, radius, z])
    solid.polygon(center + (ring - center) * (1, 1.25, 1.25) + (0, 0.03, 0), (20, 20, 21), 0.0)
    solid.polygon(ring, _TYRE, 0.2)
    solid.polygon(center + (ring - center) * 0.62 + (x * 0.01, 0, 0), (126, 128, 132), 0.3)
    if solid.depth < 18:
        solid.polygon(center + (ring - center) * 0.2 + (x * 0.01, 0, 0), (60, 60, 62), 0.2)


def _rect(z: float, left: float, right: float, low: float, high: float) -> NDArray[np.float64]:
    return np.array([(left, low, z), (right, low, z), (right, high, z), (left, high, z)])


def _end(solid: Solid, shape: Shape, car: Vehicle, front: bool) -> None:
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
