"""The ground: surfaces, their grain, what is painted on them, and the shadows that fall on them."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.ids import IGNORE, ROAD, SIDEWALK, TERRAIN
from adaptseg_training.data.streets.noise import fractal_tile
from adaptseg_training.data.streets.scene import Patch, Scene
from adaptseg_training.data.streets.stage import Stage

_IDS = {"road": ROAD, "sidewalk": SIDEWALK, "terrain": TERRAIN, "ignore": IGNORE}
_GROUND_SUN = 0.55
"""The sun's share on level ground."""


def draw_ground(stage: Stage, scene: Scene, rng: np.random.Generator) -> None:
    """Everything below the horizon, textured and in shadow where it is; things are drawn over it."""
    horizon = int(np.clip(np.ceil(stage.camera.horizon), 0, stage.canvas.label_map.shape[0] - 1))
    stage.canvas.image[horizon:] = np.clip(stage.light.shade(scene.grass, _GROUND_SUN, 80), 0, 255)
    stage.canvas.label_map[horizon:] = TERRAIN
    for patch in scene.patches:
        _patch(stage, patch)
    for marking in scene.markings:
        _patch(stage, marking)
    _finish(stage, scene, horizon, rng)


def _patch(stage: Stage, patch: Patch) -> None:
    train_id = None if patch.label is None else _IDS[patch.label]
    stage.polygon(patch.outline, stage.light.shade(patch.color, _GROUND_SUN, 5), train_id)


def _finish(stage: Stage, scene: Scene, horizon: int, rng: np.random.Generator) -> None:
    """Multiply the flat colours by grain and shade, then lay haze over the distance."""
    rows = stage.canvas.image[horizon:]
    labels = stage.canvas.label_map[horizon:]
    x, z, depth = stage.camera.ground(horizon)
    np.clip(x, -300, 300, out=x)
    np.clip(z, -300, 300, out=z)
    factor = _grain(labels, x, z, depth, scene, rng)
    shadow = _shadow_mask(stage, scene)[horizon:]
    sun, lit = np.asarray(stage.light.gain(0.0)), np.asarray(stage.light.gain(_GROUND_SUN))
    dark = 1.0 - (1.0 - float((sun / lit).mean())) * shadow
    dark *= 1.0 + float(rng.uniform(-0.05, 0.45)) * np.clip(
        depth[:, :1] / 50.0, 0.0, 1.0
    )  # seen flat, roads mirror the sky
    far = np.exp(-depth[:, :1] / stage.light.look.haze_distance).astype(np.float32)
    shaded = (
        rows * (factor * dark * far)[:, :, None] + ((1 - far) * np.asarray(stage.light.haze, np.float32)[None])[:, None]
    )
    np.clip(shaded, 0, 255, out=shaded)
    rows[:] = shaded


def _grain(
    labels: NDArray[np.uint8],
    x: NDArray[np.float32],
    z: NDArray[np.float32],
    depth: NDArray[np.float32],
    scene: Scene,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(R, W) float32 factors around 1: worn wheel tracks and stains far and wide, stones and slabs up close."""
    strength = np.zeros(256, np.float32)
    strength[[ROAD, SIDEWALK, TERRAIN, IGNORE]] = (0.035, 0.055, 0.17, 0.08)
    amount = cv2.LUT(labels, strength)
    wide = _sample(fractal_tile(60, falloff=0.75), x * 10 + np.float32(rng.uniform(0, 256)), z * 4)
    fine = _sample(fractal_tile(61, coarsest=32, falloff=0.9), x * 50 + np.float32(rng.uniform(0, 256)), z * 20)
    near = np.clip(12.0 / depth, 0.0, 1.0)
    factor = 1.0 + amount * (wide + fine * near)
    middle = x - 0.5 * scene.road.curve * z * z
    tracks = 0.03 * np.cos(middle * (2 * np.pi / 1.7)) * (labels == ROAD)
    slabbed = float(rng.choice([0.0, rng.uniform(0.4, 1.5)], p=[0.3, 0.7]))  # many pavements are asphalt too
    slabs = _slabs(middle, z, near * slabbed) * (labels == SIDEWALK)
    return np.asarray(factor + tracks - slabs, np.float32)


def _slabs(x: NDArray[np.float32], z: NDArray[np.float32], near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Joints and tones of paving slabs, the joints fading where they get finer than pixels."""
    joints = _sample(_joint_tile(), x * (64 / 0.6), z * (64 / 0.9)) * (near * near)
    tones = _sample(_tone_tile(), x * (8 / 0.6), z * (8 / 0.9)) * near
    return np.asarray(joints + tones, np.float32)


@cache
def _joint_tile() -> NDArray[np.float32]:
    """(64, 64) float32: one slab, dark along two of its edges."""
    tile = np.zeros((64, 64), np.float32)
    tile[:4], tile[:, :4] = 0.2, 0.2
    return tile


@cache
def _tone_tile() -> NDArray[np.float32]:
    """(128, 128) float32: 16 x 16 slabs, each a little lighter or darker than the next."""
    tones = np.random.default_rng(62).normal(0.0, 0.07, (16, 16)).astype(np.float32)
    return np.kron(tones, np.ones((8, 8), np.float32))


def _sample(tile: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def _shadow_mask(stage: Stage, scene: Scene) -> NDArray[np.float32]:
    """(H, W) float32 in 0..1: 1 where neither sun nor much sky reaches."""
    mask = np.zeros(stage.canvas.label_map.shape, np.uint8)
    for outline in scene.shadows:
        points = stage.camera.polygon(outline)
        if points is not None:
            cv2.fillPoly(mask, [np.clip(points, -30000, 30000).astype(np.int32)], 255)
    mask = np.asarray(cv2.blur(mask, (5, 3)), np.uint8)
    return np.asarray(mask * np.float32(1 / 255), np.float32)
