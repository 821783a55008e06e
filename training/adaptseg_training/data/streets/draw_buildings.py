"""Buildings: textured faces, roofs and chimneys."""

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.facade_art import Facade, facade
from adaptseg_training.data.streets.facade_parts import TEXELS
from adaptseg_training.data.streets.ids import BUILDING
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.scene import Building
from adaptseg_training.data.streets.stage import Stage

Vector = NDArray[np.float64]


def draw_building(stage: Stage, building: Building) -> None:
    """Its faces that look at the camera, far ones first, then the roof."""
    art = facade(building.facade)
    a = np.array((building.corner[0], 0.0, building.corner[1]))
    front = np.array((building.front[0], 0.0, building.front[1]))
    length = float(np.hypot(*building.front))
    if length < 0.5:
        return
    back = np.array((-front[2], 0.0, front[0])) * (building.depth / length)
    if building.roof == "pitched":
        _roof(stage, building, a, front, back, art.height)
    blind = building.facade % 5 < 3
    _face(stage, art, building.tint, a + back, -back, plain=blind)
    _face(stage, art, building.tint, a + front, back, plain=blind)
    _face(stage, art, building.tint, a, front, plain=False)


def _face(stage: Stage, art: Facade, tint: Color, foot: Vector, along: Vector, plain: bool) -> None:
    """One upright face from `foot` along `along`, seen from outside only."""
    length = float(np.hypot(along[0], along[2]))
    normal = np.array((along[2], 0.0, -along[0])) / length
    if float(normal @ foot) >= 0:
        return
    up = np.array((0.0, art.height, 0.0))
    points = stage.camera.polygon([foot, foot + along, foot + along + up, foot + up])
    if points is None:
        return
    middle = foot + 0.5 * along
    distance = max(stage.camera.depth(middle[0], middle[2]), 1.0)
    gain, haze = stage.light.split(stage.light.facing(normal[0], normal[2]), distance)
    gain = (gain[0] * tint[0], gain[1] * tint[1], gain[2] * tint[2])
    if plain:
        wall = tuple(w * g + h for w, g, h in zip(art.wall, gain, haze, strict=True))
        stage.canvas.fill(points, scaled((wall[0], wall[1], wall[2]), 0.95), BUILDING)
        return
    level = _level(art, stage.camera.focal / distance)
    texels = art.levels[level]
    per_metre = texels.shape[0] / art.height
    plane = stage.camera.plane(foot + up, along / (length * per_metre), -up / texels.shape[0])
    stage.canvas.texture(points, plane, texels, gain, haze, BUILDING)
    if stage.light.look.lamps > 0:
        stage.canvas.glow(points, plane, art.lit[level], 0.7 * stage.light.look.lamps)


def _level(art: Facade, pixels_per_metre: float) -> int:
    return int(np.clip(np.log2(TEXELS / max(pixels_per_metre, 1e-3)) - 0.3, 0, len(art.levels) - 1))


def _roof(stage: Stage, building: Building, a: Vector, front: Vector, back: Vector, height: float) -> None:
    """Two slopes, the gables between them, chimneys on the ridge."""
    eaves, rise = np.array((0.0, height, 0.0)), np.array((0.0, 0.38 * building.depth, 0.0))
    ridge = a + 0.5 * back + eaves + rise
    distance = max(stage.camera.depth(ridge[0], ridge[2]), 1.0)
    side = stage.light.facing(front[2], -front[0]) / max(float(np.hypot(front[0], front[2])), 1e-6)
    color = stage.light.shade(building.roof_color, 0.3 + 0.5 * side, distance)
    for k in range(building.chimneys):
        foot = ridge + front * (0.1 + 0.8 * k / max(building.chimneys - 1, 1)) - (0.0, 0.6, 0.0)
        along = front / max(float(np.hypot(front[0], front[2])), 1e-6)
        top = np.array((0.0, 1.9, 0.0))
        stage.polygon([foot, foot + along, foot + along + top, foot + top], scaled(color, 1.25), BUILDING)
    for gable, inset in ((a, 0.0), (a + front, 0.0)):
        peak = gable + 0.5 * back + eaves + rise
        stage.polygon([gable + eaves, gable + back + eaves, peak + inset], scaled(color, 0.9), BUILDING)
    stage.polygon([a + eaves, a + front + eaves, ridge + front, ridge], color, BUILDING)
