"""Textures for hedges and garden walls: (256, 256, 3) uint8 around 128, multiplied by the colour when drawn."""

from functools import cache

import numpy as np

from adaptseg_training.data.streets.canvas import Image
from adaptseg_training.data.streets.noise import fractal_tile


@cache
def hedge_texture() -> Image:
    leaves = fractal_tile(80, coarsest=16, falloff=0.9)
    return np.repeat(np.clip(118 * (1 + 0.36 * leaves), 20, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@cache
def wall_texture() -> Image:
    """Brick courses, stained."""
    tone = 122 * (1 + 0.07 * fractal_tile(81) + 0.09 * fractal_tile(82, coarsest=64, falloff=0.9))
    tone[::4] *= 0.82
    return np.repeat(np.clip(tone, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
