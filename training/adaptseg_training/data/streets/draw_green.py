"""Trees and bushes, and the upright sheets along gardens: walls, hedges, railings, crash barriers."""

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.camera import NEAR
from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.hedge_art import hedge_texture, wall_texture
from adaptseg_training.data.streets.ids import FENCE, VEGETATION, WALL
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.plant_art import plant_sprite
from adaptseg_training.data.streets.scene import Barrier, Plant
from adaptseg_training.data.streets.stage import Stage

Vector = NDArray[np.float64]

_BAR_SPACING, _BAR_WIDTH = 0.13, 0.028
"""Of railings, in metres."""
_FINEST = 2.5
"""Bars fewer pixels apart than this are drawn as a veil."""


def draw_plant(stage: Stage, plant: Plant) -> None:
    sheet = stage.cutout(plant.at)
    if sheet is None or sheet.depth < 3:  # a leaf before the lens would hide the street
        return
    tall, wide = plant.height * sheet.scale, plant.width * sheet.scale
    gain, haze = stage.light.split(0.5, sheet.depth)
    gain = (gain[0] * plant.tint[0], gain[1] * plant.tint[1], gain[2] * plant.tint[2])
    sprite = plant_sprite(plant.kind, plant.variant)
    stage.canvas.paste(sprite, (sheet.x - wide / 2, sheet.y - tall), (tall, wide), gain, haze, VEGETATION)


def draw_barrier(stage: Stage, barrier: Barrier) -> None:
    a, b = (np.array((p[0], 0.0, p[1])) for p in (barrier.start, barrier.end))
    along = b - a
    length = max(float(np.hypot(along[0], along[2])), 1e-6)
    distance = stage.camera.depth(*(0.5 * (a + b))[[0, 2]])
    normal = np.array((along[2], 0.0, -along[0])) / length
    if normal @ a > 0:
        normal = -normal
    sun = stage.light.facing(normal[0], normal[2])
    if barrier.kind in ("wall", "hedge"):
        _sheet(stage, barrier, a, along, sun, distance)
        return
    color = stage.light.shade(barrier.color, 0.2 + 0.6 * sun, distance)
    up = np.array((0.0, barrier.height, 0.0))
    whole = stage.camera.polygon([a, b, b + up, a + up])
    if whole is None:
        return
    stage.canvas.outline(whole, FENCE)
    match barrier.kind:
        case "railing":
            _rails(stage, a, along, (0.12, barrier.height - 0.05), 0.045, color)
            _bars(stage, a, along, barrier.height, whole, color)
        case "guardrail":
            _rails(stage, a, along, (barrier.height - 0.31,), 0.15, scaled(color, 0.8))
            _rails(stage, a, along, (barrier.height - 0.15,), 0.15, color)
            _uprights(stage, a, along, barrier.height - 0.05, 2.0, 0.12, scaled(color, 0.6))
        case _:
            _rails(stage, a, along, (0.0,), barrier.height, color)
            _uprights(stage, a, along, barrier.height, 0.5 + 0.02 * max(distance, 0), 0.03, scaled(color, 0.75))


def _sheet(stage: Stage, barrier: Barrier, foot: Vector, along: Vector, sun: float, distance: float) -> None:
    """A textured sheet with a lit top edge."""
    up = np.array((0.0, barrier.height, 0.0))
    points = stage.camera.polygon([foot, foot + along, foot + along + up, foot + up])
    if points is None:
        return
    hedge = barrier.kind == "hedge"
    texels = hedge_texture() if hedge else wall_texture()
    length = float(np.hypot(along[0], along[2]))
    density = 48.0 if distance < 14 else 16.0
    plane = stage.camera.plane(foot + up, along / length / density, (0.0, -1.0 / density, 0.0))
    gain, haze = stage.light.split(0.25 + 0.5 * sun if hedge else sun, distance)
    tint = tuple(g * c / 128 for g, c in zip(gain, barrier.color, strict=True))
    stage.canvas.texture(points, plane, texels, (tint[0], tint[1], tint[2]), haze, VEGETATION if hedge else WALL)
    if not hedge:
        cap = stage.light.shade(scaled(barrier.color, 1.15), 0.6, distance)
        lip = np.array((0.0, 0.09, 0.0))
        stage.polygon([foot + up - lip, foot + along + up - lip, foot + along + up, foot + up], cap, WALL)


def _rails(stage: Stage, foot: Vector, along: Vector, levels: tuple[float, ...], thick: float, color: Color) -> None:
    """Level bars, each so thick, their lower edges at `levels`."""
    for level in levels:
        low, high = np.array((0.0, level, 0.0)), np.array((0.0, level + thick, 0.0))
        stage.polygon([foot + low, foot + along + low, foot + along + high, foot + high], color, FENCE)


def _bars(stage: Stage, foot: Vector, along: Vector, height: float, whole: Vector, color: Color) -> None:
    """A railing's bars, one by one, or a veil where they stand closer than pixels; seen along it they close up."""
    count = max(float(np.hypot(along[0], along[2])) / _BAR_SPACING, 1.0)
    apart = float(np.ptp(whole[:, 0])) / count  # px
    tall = float(np.ptp(whole[:, 1])) / height  # px a metre, at the near end
    if apart > _FINEST:
        _uprights(stage, foot, along, height, _BAR_SPACING, _BAR_WIDTH, color)
    else:
        stage.canvas.veil(whole, color, min(_BAR_WIDTH * tall / max(apart, 1e-3), 0.75), FENCE)


def _uprights(
    stage: Stage, foot: Vector, along: Vector, height: float, spacing: float, width: float, color: Color
) -> None:
    """Posts so wide, so far apart; those at the camera's side are left out."""
    length = max(float(np.hypot(along[0], along[2])), 1e-6)
    count = max(int(length / spacing), 1)
    feet = foot + along * (np.arange(count) / count)[:, None]
    step, up = along / length * width, np.array((0.0, height, 0.0))
    corners = np.stack([feet, feet + step, feet + step + up, feet + up], axis=1)
    seen = stage.camera.homogeneous(corners.reshape(-1, 3)).reshape(count, 4, 3)
    seen = seen[seen[:, :, 2].min(axis=1) >= NEAR]
    if len(seen):
        stage.canvas.fill_all(seen[:, :, :2] / seen[:, :, 2:], color, FENCE)
