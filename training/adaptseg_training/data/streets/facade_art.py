"""Facade textures: walls, windows, doors and shopfronts, painted flat and tiled along a street.

A texture spans the building's height and a few bays of its width; it wraps sideways. Colours are those of the
surface, before light.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from adaptseg_training.data.streets.canvas import Color, Image
from adaptseg_training.data.streets.noise import crop, fractal_tile
from adaptseg_training.data.streets.palette import SHOP_COLORS, WALL_TINTS, mixed, pick, scaled

TEXELS = 20
"""Texels per metre at the finest level."""

FACADES = 72
"""How many there are to choose from."""


@dataclass(frozen=True)
class Facade:
    """levels: (h, w, 3) uint8 RGB textures at halving sizes; lit: (h, w) uint8 lamplight in the windows, alike."""

    levels: tuple[Image, ...]
    lit: tuple[Image, ...]
    width: float
    height: float
    wall: Color


@dataclass(frozen=True)
class _Style:
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


def facade(index: int) -> Facade:
    """Facade number `index` (mod FACADES); always the same one."""
    return _build(index % FACADES)


@cache
def _build(number: int) -> Facade:
    rng = np.random.default_rng((23, number))
    style = _style(rng)
    texels, lit = _paint(style, rng)
    levels, lit_levels = [texels], [lit]
    while min(levels[-1].shape[:2]) > 8:
        levels.append(_half(levels[-1]))
        lit_levels.append(_half(lit_levels[-1]))
    height = style.ground_height + (style.floors - 1) * style.floor_height + 0.5
    return Facade(tuple(levels), tuple(lit_levels), style.bays * style.bay, height, style.wall)


def _half(texels: Image) -> Image:
    return np.asarray(cv2.resize(texels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def _style(rng: np.random.Generator) -> _Style:
    floors = int(rng.choice([1, 2, 3, 4, 5], p=[0.04, 0.26, 0.36, 0.22, 0.12]))
    glass = floors >= 3 and rng.random() < 0.25
    bay = float(rng.uniform(1.8, 3.8))
    wide = rng.uniform(0.75, 0.97) if glass else rng.uniform(0.3, 0.6)
    tall = rng.uniform(0.6, 0.9) if glass else rng.uniform(0.42, 0.66)
    floor_height = float(rng.uniform(2.6, 3.5))
    ground = str(rng.choice(["shop", "door", "plain"], p=[0.45, 0.35, 0.2]))
    frame: Color = (225, 225, 220) if rng.random() < 0.65 else (60, 56, 54)
    return _Style(
        floors, floor_height, float(rng.uniform(2.9, 4.0)), int(rng.integers(3, 6)), bay,
        (float(wide * bay), float(tall * floor_height)), pick(rng, WALL_TINTS), frame, bool(rng.random() < 0.6), ground, glass,
    )


def _paint(style: _Style, rng: np.random.Generator) -> tuple[Image, Image]:
    height = style.ground_height + (style.floors - 1) * style.floor_height + 0.5
    h, w = int(height * TEXELS), int(style.bays * style.bay * TEXELS)
    texels, lit = _wall(style, h, w, rng), np.zeros((h, w), np.uint8)
    for floor in range(1, style.floors):
        sill = h - int((style.ground_height + (floor - 1) * style.floor_height + 0.28 * style.floor_height) * TEXELS)
        for bay in range(style.bays):
            _window(texels, lit, style, (int((bay + 0.5) * style.bay * TEXELS), sill), style.window, rng)
    if rng.random() < 0.4:
        for floor in range(style.floors - 1):
            _band(texels, h - int((style.ground_height + floor * style.floor_height) * TEXELS), 3, scaled(style.wall, 1.2))
    _ground_floor(texels, lit, style, rng)
    _band(texels, 0, int(0.25 * TEXELS), scaled(style.wall, float(rng.uniform(0.6, 1.3))))
    _band(texels, int(0.25 * TEXELS), 2, scaled(style.wall, 0.5))
    return texels, lit


def _wall(style: _Style, h: int, w: int, rng: np.random.Generator) -> Image:
    stains = crop(fractal_tile(2, coarsest=4), rng, h, w)
    fine = crop(fractal_tile(3, coarsest=64, falloff=0.9), rng, h, w)
    shade = 1.0 + 0.05 * stains + (0.06 if style.brick else 0.015) * fine
    shade *= np.linspace(1.04, 0.92, h, dtype=np.float32)[:, None]
    if style.brick:
        shade[::2] *= 0.93
    wall = np.asarray(style.wall, np.float32) * shade[:, :, None]
    return np.clip(wall, 0, 255).astype(np.uint8)


def _band(texels: Image, row: int, thick: int, color: Color) -> None:
    texels[max(row, 0) : max(row, 0) + thick] = np.asarray(color, np.float32).clip(0, 255).astype(np.uint8)


def _box(texels: Image, box: tuple[int, int, int, int], color: Color) -> None:
    """Fill left, top, right, bottom."""
    left, top, right, bottom = box
    texels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = np.asarray(color).clip(0, 255).astype(np.uint8)


def _window(
    texels: Image, lit: Image, style: _Style, foot: tuple[int, int], size: tuple[float, float], rng: np.random.Generator
) -> None:
    """A window `size` (wide, tall) metres, standing on `foot` (column of its middle, row of its sill)."""
    half, tall = int(size[0] * TEXELS / 2), int(size[1] * TEXELS)
    left, right, bottom, top = foot[0] - half, foot[0] + half, foot[1], foot[1] - tall
    if not style.glass:
        _box(texels, (left - 3, bottom, right + 3, bottom + 2), scaled(style.wall, 1.25))
        _box(texels, (left - 2, top - 3, right + 2, top), scaled(style.wall, 0.8))
    _box(texels, (left, top, right, bottom), style.frame)
    _glazing(texels, lit, (left + 1, top + 1, right - 1, bottom - 1), rng)
    if not style.glass and rng.random() < 0.85:
        _box(texels, (left, (top + bottom) // 2, right, (top + bottom) // 2 + 1), style.frame)
        _box(texels, (foot[0], top, foot[0] + 1, bottom), style.frame)


def _glazing(texels: Image, lit: Image, box: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    """Dark panes with a sheen of sky, sometimes a blind or curtain; some are lit from within."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), box[2], max(box[3], 0)
    rows = max(bottom - top, 1)
    sheen = float(abs(rng.normal(0.0, 34.0)))
    ramp = np.linspace(1.0, float(rng.uniform(0.1, 0.7)), rows, dtype=np.float32)[:, None, None]
    glass = np.asarray((30, 34, 40), np.float32) + ramp * sheen * np.asarray((0.9, 1.0, 1.12), np.float32)
    if rng.random() < 0.3:
        glass[: int(rows * rng.uniform(0.2, 1.0))] = rng.uniform(80, 190)
    texels[top:bottom, left:right] = np.clip(glass, 0, 255).astype(np.uint8)[: bottom - top]
    if rng.random() < 0.35:
        lit[top:bottom, left:right] = int(rng.uniform(90, 255))


def _ground_floor(texels: Image, lit: Image, style: _Style, rng: np.random.Generator) -> None:
    h, w = lit.shape
    top = h - int(style.ground_height * TEXELS)
    if style.ground == "shop":
        _shopfront(texels, lit, (0, top, w, h), style, rng)
        return
    door_bay = int(rng.integers(style.bays)) if style.ground == "door" else -1
    for bay in range(style.bays):
        middle = int((bay + 0.5) * style.bay * TEXELS)
        if bay == door_bay:
            _box(texels, (middle - 12, h - 44, middle + 12, h), style.frame)
            _box(texels, (middle - 9, h - 42, middle + 9, h), scaled(pick(rng, SHOP_COLORS), 0.7))
        else:
            _window(texels, lit, style, (middle, h - int(0.9 * TEXELS)), (style.window[0], min(style.window[1], 1.7)), rng)


def _shopfront(texels: Image, lit: Image, box: tuple[int, int, int, int], style: _Style, rng: np.random.Generator) -> None:
    """A fascia board over panes between pillars, with a door and a low sill."""
    left, top, right, bottom = box
    paint = pick(rng, SHOP_COLORS)
    _box(texels, (left, top, right, bottom), scaled(paint, 0.8))
    board = top + int(0.75 * TEXELS)
    _box(texels, (left, top + 2, right, board), paint)
    letters = mixed(paint, (235, 230, 210), 0.8)
    for start in range(left + 20, right - 30, 90):
        for column in range(start, start + int(rng.integers(25, 60)), 5):
            _box(texels, (column, top + 6, column + 3, board - 4 - int(rng.integers(3))), letters)
    pane = int(rng.uniform(1.2, 2.6) * TEXELS)
    sill = bottom - int(rng.uniform(0.15, 0.7) * TEXELS)
    for start in range(left, right, pane):
        _glazing(texels, lit, (start + 3, board + 3, min(start + pane, right) - 2, sill), rng)
        for _ in range(3):
            x, y = int(rng.integers(start, start + pane)), int(rng.integers(board + 8, max(sill - 6, board + 9)))
            _box(texels, (x, y, min(x + int(rng.integers(4, 14)), right), min(y + int(rng.integers(4, 20)), sill)),
                 pick(rng, SHOP_COLORS, 0.3))
    lit[board:sill] = np.maximum(lit[board:sill], int(rng.choice([0, 120, 230])))
