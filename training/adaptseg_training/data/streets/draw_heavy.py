"""Trucks and buses: boxes, told apart by windows, cab and wheels."""

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.ids import BUS, TRUCK
from adaptseg_training.data.streets.palette import mixed, scaled
from adaptseg_training.data.streets.scene import Vehicle
from adaptseg_training.data.streets.solid import Solid, stand
from adaptseg_training.data.streets.stage import Stage

_GLASS: Color = (36, 40, 46)
_ROUND = np.linspace(0, 2 * np.pi, 12, endpoint=False)


def draw_heavy(stage: Stage, vehicle: Vehicle) -> None:
    bus = vehicle.kind == "bus"
    solid = stand(stage, vehicle.at, vehicle.heading, BUS if bus else TRUCK, vehicle.scale)
    half, length = 1.25, 5.2 if bus else 4.0
    tall = (4.2 if vehicle.scale > 1.02 else 3.0) if bus else 3.3
    if solid.depth < 5 or (solid.depth < length + 3 and abs(solid.eye[0]) < 1.6):
        return
    low = [
        (-half - 0.1, 0.0, -length),
        (half + 0.1, 0.0, -length),
        (half + 0.1, 0.0, length),
        (-half - 0.1, 0.0, length),
    ]
    solid.polygon(low, (34, 34, 36), 0.0, labelled=False)
    if abs(solid.eye[0]) > half:
        _flank(solid, vehicle, np.sign(solid.eye[0]) * half, length, tall, bus)
    _end(solid, vehicle, half, length, tall, bus, 1.0 if solid.eye[1] > 0 else -1.0)


def _flank(solid: Solid, vehicle: Vehicle, x: float, length: float, tall: float, bus: bool) -> None:
    sun = solid.facing(float(np.sign(x)), 0.0)
    cab = length if bus else length - 1.9
    _wall(solid, x, (-length, cab), (0.35 if bus else 0.9, tall), vehicle.color, sun)
    if bus:
        for floor in (1.2,) if tall < 4 else (1.2, 2.9):
            for z in np.arange(-length + 0.3, length - 0.8, 1.35):
                _wall(solid, x, (float(z), float(z) + 1.2), (floor, floor + 0.95), _GLASS, 0.3)
    else:
        _wall(solid, x, (cab + 0.1, length), (0.45, 2.4), mixed(vehicle.color, (200, 200, 200), 0.5), sun)
        _wall(solid, x, (cab + 0.6, length - 0.2), (1.4, 2.2), _GLASS, 0.3)
        _wall(solid, x, (-length, cab), (0.5, 0.9), (36, 36, 38), 0.2)
    for z in (-length + 1.6, length - 1.3):
        ring = np.stack([np.full(12, x * 1.01), 0.48 + 0.48 * np.sin(_ROUND), z + 0.48 * np.cos(_ROUND)], axis=1)
        solid.polygon(ring, (22, 22, 23), 0.2)
        solid.polygon((ring - (0, 0.48, z)) * (1.005, 0.5, 0.5) + (0, 0.48, z), (110, 110, 112), 0.3)


def _wall(solid: Solid, x: float, z: tuple[float, float], y: tuple[float, float], color: Color, sun: float) -> None:
    solid.polygon([(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])], color, sun)


def _end(solid: Solid, vehicle: Vehicle, half: float, length: float, tall: float, bus: bool, sign: float) -> None:
    z, sun = sign * (length + 0.02), solid.facing(0.0, sign)
    top = tall if bus or sign < 0 else 2.5
    if not bus and sign > 0:
        _panel(solid, z - 1.9, (-half, half), (0.9, tall), vehicle.color, sun)
    _panel(solid, z, (-half, half), (0.35, top), vehicle.color, sun)
    _panel(solid, z, (-half, half), (0.35, 0.75), (40, 40, 42), 0.3 * sun)
    if bus or sign > 0:
        panes = ((1.3, 2.5),) if top < 4 else ((1.3, 2.4), (2.9, 3.9))
        for low, high in panes:
            _panel(solid, z, (-half * 0.9, half * 0.9), (low, min(high, top - 0.2)), _GLASS, 0.3)
            _panel(
                solid,
                z,
                (-half * 0.9, half * 0.9),
                ((low + high) / 2, min(high, top - 0.2)),
                scaled(_GLASS, 1.5),
                0.4,
            )
    else:
        _panel(solid, z, (-0.02, 0.02), (0.9, top - 0.1), scaled(vehicle.color, 0.5), sun)
    lit = solid.stage.light.look.lamps > 0
    for hand in (-1, 1):
        box = [(hand * 1.15, 0.8, z), (hand * 0.9, 0.8, z), (hand * 0.9, 1.05, z), (hand * 1.15, 1.05, z)]
        color: Color = (250, 244, 220) if sign > 0 else (200, 34, 28)
        if lit:
            solid.lamp(box, color)
        else:
            solid.polygon(box, scaled(color, 0.75), 0.5)


def _panel(solid: Solid, z: float, x: tuple[float, float], y: tuple[float, float], color: Color, sun: float) -> None:
    solid.polygon([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], color, sun)
