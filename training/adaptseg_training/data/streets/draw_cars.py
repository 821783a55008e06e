"""Cars and vans: a body and a glasshouse between two side outlines, with wheels, windows, lights and plates."""

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.car_parts import end, wheel
from adaptseg_training.data.streets.ids import CAR
from adaptseg_training.data.streets.palette import mixed, scaled
from adaptseg_training.data.streets.scene import Vehicle
from adaptseg_training.data.streets.solid import Solid, stand
from adaptseg_training.data.streets.stage import Stage
from adaptseg_training.data.streets.vehicle_shapes import SHAPES, Shape

_GLASS: Color = (34, 38, 44)


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
    end(solid, shape, car, front=solid.eye[1] > 0)


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
        frame = np.array(
            [
                (near * low, y0, 0.3),
                (near * high, y1 - 0.1, 0.3),
                (near * high, y2 - 0.1, z2),
                (near * low, y3, z3),
            ]
        )
        middle = frame.mean(axis=0)
    glass = middle + (frame - middle) * (0.86, 0.74, 0.86)
    solid.polygon(glass, mixed(_GLASS, (150, 160, 170), 0.15), 0.3)
    for z in (0.15,) if closed else (0.1, -0.85):
        if z0 < z < z3:
            pillar = [
                (near * low, y0, z - 0.05),
                (near * high, y1, z - 0.05),
                (near * high, y1, z + 0.05),
                (near * low, y0, z + 0.05),
            ]
            solid.polygon(pillar, scaled(car.color, 0.6), sun)


def _screen(
    solid: Solid,
    z: tuple[float, float],
    y: tuple[float, float],
    half: tuple[float, float],
    paint: Color,
    closed: bool,
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
    sill = np.array(
        [
            (x, 0.24, shape.rear + 0.2),
            (x, 0.36, shape.rear),
            (x, 0.36, shape.front),
            (x, 0.24, shape.front - 0.2),
        ]
    )
    solid.polygon(sill, scaled(car.color, 0.4), 0.3 * sun)
    for z in shape.wheels[:2]:
        wheel(solid, x, z, shape.wheels[2])
    if solid.depth < 25:
        for z in (-0.95, 0.08, 0.98):
            solid.polygon(
                [(x, 0.4, z), (x, waist, z), (x, waist, z + 0.025), (x, 0.4, z + 0.025)],
                scaled(car.color, 0.5),
                sun,
            )
