"""What facades are put together from: windows, panes, bands and shopfronts, in texels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Color, Image
from adaptseg_training.data.streets.noise import crop, fractal_tile
from adaptseg_training.data.streets.palette import SHOP_COLORS, SOBER_FRONTS, mixed, pick, scaled

TEXELS = 20
"""Texels per metre at the finest level."""

_REFLECTED: tuple[Color, ...] = ((176, 190, 204), (96, 94, 70), (70, 78, 52), (134, 116, 98), (150, 146, 138))
"""What stands across the street: sky, bare trees, leaves, brick, render."""


@dataclass(frozen=True)
class Style:
    """Metres, and what the upper floors and the ground floor look like."""

    floors: int
    floor_height: float
    ground_height: float
    bays: int
    bay: float
    window: tuple[float, float]
    wall: Color
    frame: Color
    brick: bool
    ground: str
    glass: bool


def band(texels: Image, row: int, thick: int, color: Color) -> None:
    texels[max(row, 0) : max(row, 0) + thick] = np.asarray(color, np.float32).clip(0, 255).astype(np.uint8)


def box(texels: Image, area: tuple[int, int, int, int], color: Color) -> None:
    """Fill left, top, right, bottom."""
    left, top, right, bottom = area
    texels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = np.asarray(color).clip(0, 255).astype(np.uint8)


def window(
    texels: Image,
    lit: Image,
    style: Style,
    foot: tuple[int, int],
    size: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """A window `size` (wide, tall) metres, standing on `foot` (column of its middle, row of its sill)."""
    half, tall = int(size[0] * TEXELS / 2), int(size[1] * TEXELS)
    left, right, bottom, top = foot[0] - half, foot[0] + half, foot[1], foot[1] - tall
    if not style.glass:
        box(texels, (left - 3, bottom, right + 3, bottom + 2), scaled(style.wall, 1.25))
        box(texels, (left - 2, top - 3, right + 2, top), scaled(style.wall, 0.8))
    box(texels, (left, top, right, bottom), style.frame)
    _glazing(texels, lit, (left + 1, top + 1, right - 1, bottom - 1), rng)
    if not style.glass and rng.random() < 0.85:
        box(texels, (left, (top + bottom) // 2, right, (top + bottom) // 2 + 1), style.frame)
        box(texels, (foot[0], top, foot[0] + 1, bottom), style.frame)


def _glazing(texels: Image, lit: Image, area: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    """Dark panes with a sheen of sky, sometimes a blind or curtain; some are lit from within."""
    left, top, right, bottom = max(area[0], 0), max(area[1], 0), area[2], max(area[3], 0)
    rows = max(bottom - top, 1)
    sheen = float(abs(rng.normal(0.0, 34.0)))
    ramp = np.linspace(1.0, float(rng.uniform(0.1, 0.7)), rows, dtype=np.float32)[:, None, None]
    glass = np.asarray((30, 34, 40), np.float32) + ramp * sheen * np.asarray((0.9, 1.0, 1.12), np.float32)
    if rng.random() < 0.5:
        glass = _reflection(max(bottom - top, 1), max(right - left, 1), rng)
    elif rng.random() < 0.3:
        glass[: int(rows * rng.uniform(0.2, 1.0))] = rng.uniform(80, 190)
    texels[top:bottom, left:right] = np.clip(glass, 0, 255).astype(np.uint8)[: bottom - top]
    if rng.random() < 0.35:
        lit[top:bottom, left:right] = int(rng.uniform(90, 255))


def _reflection(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(rows, columns, 3) float32 R, G, B: trees, sky and houses across the street, mirrored in dark glass."""
    seen = np.asarray(_REFLECTED[int(rng.integers(len(_REFLECTED)))], np.float32) * np.float32(rng.uniform(0.4, 1.0))
    patches = crop(fractal_tile(24, coarsest=8, falloff=0.8), rng, rows, columns)
    share = 1 / (1 + np.exp(-2.2 * (patches - np.float32(rng.normal(0.4, 0.7)))))
    return np.asarray((30, 32, 34) + share[:, :, None] * (seen - (30, 32, 34)), np.float32)


def shopfront(
    texels: Image, lit: Image, area: tuple[int, int, int, int], style: Style, rng: np.random.Generator
) -> None:
    """A fascia board over panes between pillars, with a door and a low sill."""
    left, top, right, bottom = area
    sober = rng.random() < 0.6
    paint = pick(rng, SOBER_FRONTS if sober else SHOP_COLORS, 0.12)
    box(texels, (left, top, right, bottom), scaled(paint, 0.8))
    board = top + int(0.75 * TEXELS)
    box(texels, (left, top + 2, right, board), paint)
    letters = mixed(paint, (235, 230, 210), 0.8)
    for start in range(left + 20, right - 30, 90):
        for column in range(start, start + int(rng.integers(25, 60)), 5):
            box(texels, (column, top + 6, column + 3, board - 4 - int(rng.integers(3))), letters)
    pane = int(rng.uniform(1.2, 2.6) * TEXELS)
    sill = bottom - int(rng.uniform(0.15, 0.7) * TEXELS)
    for start in range(left, right, pane):
        _glazing(texels, lit, (start + 3, board + 3, min(start + pane, right) - 2, sill), rng)
        for _ in range(int(rng.integers(3)) if sober else 3):
            x, y = (
                int(rng.integers(start, start + pane)),
                int(rng.integers(board + 8, max(sill - 6, board + 9))),
            )
            box(
                texels,
                (x, y, min(x + int(rng.integers(4, 14)), right), min(y + int(rng.integers(4, 20)), sill)),
                scaled(pick(rng, SHOP_COLORS, 0.3), float(rng.uniform(0.3, 1.0))),
            )
    lit[board:sill] = np.maximum(lit[board:sill], int(rng.choice([0, 120, 230])))
