"""Noise tiles, made once: what keeps surfaces from being flat colours."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Tile = NDArray[np.float32]
"""(N, N) float32, mean 0, standard deviation 1; its edges join."""


@cache
def fractal_tile(seed: int, side: int = 256, coarsest: int = 4, falloff: float = 0.6) -> Tile:
    """Value noise summed over octaves: grids of `coarsest`, 2 * `coarsest`, ... cells, each `falloff` as strong."""
    rng = np.random.default_rng((7, seed))
    total = np.zeros((side, side), np.float32)
    cells, strength = coarsest, 1.0
    while cells <= side:
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 2, mode="wrap")
        step = side // cells
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += np.asarray(fine, np.float32)[2 * step : 2 * step + side, 2 * step : 2 * step + side] * strength
        cells, strength = cells * 2, strength * falloff
    return np.asarray((total - total.mean()) / total.std(), np.float32)


@cache
def grain_bank(side: int = 1024) -> NDArray[np.int16]:
    """(side, side, 3) int16 sensor noise of standard deviation 16, a little correlated, as demosaicing leaves it."""
    rng = np.random.default_rng(11)
    luma = rng.standard_normal((side, side, 1)).astype(np.float32)
    grain = 0.8 * luma + 0.5 * rng.standard_normal((side, side, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.55), np.float32)
    return np.asarray(soft * (16 / soft.std()), np.int16)


def crop(tile: Tile, rng: np.random.Generator, height: int, width: int) -> Tile:
    """(height, width) float32 from a random place of `tile`, wrapped round its edges."""
    rows = (np.arange(height) + int(rng.integers(len(tile)))) % len(tile)
    columns = (np.arange(width) + int(rng.integers(len(tile)))) % len(tile)
    return np.asarray(tile[rows[:, None], columns[None]], np.float32)
