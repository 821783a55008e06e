"""Facade textures: walls, windows, doors and shopfronts, painted flat and tiled along a street.

A texture spans the building's height and a few bays of its width; it wraps sideways. Colours are those of the
surface, before light.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from adaptseg_training.data.streets.canvas import Color, Image
from adaptseg_training.data.streets.facade_parts import TEXELS, Style, band, box, shopfront, window
from adaptseg_training.data.streets.noise import crop, fractal_tile
from adaptseg_training.data.streets.palette import SHOP_COLORS, WALL_TINTS, pick, scaled

FACADES = 144
"""How many there are to choose from."""


@dataclass(frozen=True)
class Facade:
    """levels: (h, w, 3) uint8 RGB textures at halving sizes; lit: (h, w) uint8 lamplight in the windows, alike."""

    levels: tuple[Image, ...]
    lit: tuple[Image, ...]
    width: float
    height: float
    wall: Color


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


def _style(rng: np.random.Generator) -> Style:
    floors = int(rng.choice([1, 2, 3, 4, 5], p=[0.04, 0.26, 0.36, 0.22, 0.12]))
    glass = floors >= 3 and rng.random() < 0.25
    bay = float(rng.uniform(1.8, 3.8))
    wide = rng.uniform(0.75, 0.97) if glass else rng.uniform(0.3, 0.6)
    tall = rng.uniform(0.6, 0.9) if glass else rng.uniform(0.42, 0.66)
    floor_height = float(rng.uniform(2.6, 3.5))
    ground = str(rng.choice(["shop", "door", "plain"], p=[0.45, 0.35, 0.2]))
    frame: Color = (225, 225, 220) if rng.random() < 0.65 else (60, 56, 54)
    return Style(
        floors,
        floor_height,
        float(rng.uniform(2.9, 4.0)),
        int(rng.integers(3, 6)),
        bay,
        (float(wide * bay), float(tall * floor_height)),
        pick(rng, WALL_TINTS),
        frame,
        bool(rng.random() < 0.6),
        ground,
        glass,
    )


def _paint(style: Style, rng: np.random.Generator) -> tuple[Image, Image]:
    height = style.ground_height + (style.floors - 1) * style.floor_height + 0.5
    h, w = int(height * TEXELS), int(style.bays * style.bay * TEXELS)
    texels, lit = _wall(style, h, w, rng), np.zeros((h, w), np.uint8)
    for floor in range(1, style.floors):
        sill = h - int((style.ground_height + (floor - 1) * style.floor_height + 0.28 * style.floor_height) * TEXELS)
        for bay in range(style.bays):
            window(texels, lit, style, (int((bay + 0.5) * style.bay * TEXELS), sill), style.window, rng)
    if rng.random() < 0.4:
        for floor in range(style.floors - 1):
            band(
                texels,
                h - int((style.ground_height + floor * style.floor_height) * TEXELS),
                3,
                scaled(style.wall, 1.2),
            )
    _ground_floor(texels, lit, style, rng)
    band(texels, 0, int(0.25 * TEXELS), scaled(style.wall, float(rng.uniform(0.6, 1.3))))
    band(texels, int(0.25 * TEXELS), 2, scaled(style.wall, 0.5))
    return texels, lit


def _wall(style: Style, h: int, w: int, rng: np.random.Generator) -> Image:
    stains = crop(fractal_tile(2, coarsest=4), rng, h, w)
    fine = crop(fractal_tile(3, coarsest=64, falloff=0.9), rng, h, w)
    shade = 1.0 + 0.05 * stains + (0.06 if style.brick else 0.015) * fine
    shade *= np.linspace(1.04, 0.92, h, dtype=np.float32)[:, None]
    if style.brick:
        shade[::2] *= 0.93
    wall = np.asarray(style.wall, np.float32) * shade[:, :, None]
    return np.clip(wall, 0, 255).astype(np.uint8)


def _ground_floor(texels: Image, lit: Image, style: Style, rng: np.random.Generator) -> None:
    h, w = lit.shape
    top = h - int(style.ground_height * TEXELS)
    if style.ground == "shop":
        shopfront(texels, lit, (0, top, w, h), style, rng)
        return
    door_bay = int(rng.integers(style.bays)) if style.ground == "door" else -1
    for bay in range(style.bays):
        middle = int((bay + 0.5) * style.bay * TEXELS)
        if bay == door_bay:
            box(texels, (middle - 12, h - 44, middle + 12, h), style.frame)
            box(texels, (middle - 9, h - 42, middle + 9, h), scaled(pick(rng, SHOP_COLORS), 0.7))
        else:
            window(
                texels,
                lit,
                style,
                (middle, h - int(0.9 * TEXELS)),
                (style.window[0], min(style.window[1], 1.7)),
                rng,
            )
