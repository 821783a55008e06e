"""Sprites of trees and bushes, grown once: leafy crowns of many small clumps, firs, and bare branches."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Image, Sprite, make_sprite
from adaptseg_training.data.streets.noise import crop, fractal_tile

VARIANTS = {"broadleaf": 10, "conifer": 5, "bare": 10, "bush": 8}
_SIDE = 256


def plant_sprite(kind: str, index: int) -> Sprite:
    """Variant number `index` (mod how many there are) of a kind; the foot is the middle of the lower edge."""
    return _grow(kind, index % VARIANTS[kind])


@cache
def _grow(kind: str, variant: int) -> Sprite:
    rng = np.random.default_rng((31, sum(map(ord, kind)), variant))
    color, cover = np.zeros((_SIDE, _SIDE, 3), np.uint8), np.zeros((_SIDE, _SIDE), np.uint8)
    match kind:
        case "bare":
            _branch(color, cover, np.array([_SIDE / 2, _SIDE - 1.0]), -np.pi / 2, _SIDE * 0.21, _SIDE * 0.035, rng)
            outline = np.asarray(cv2.morphologyEx(cover, cv2.MORPH_CLOSE, np.ones((13, 13), np.uint8)), np.uint8)
        case "broadleaf":
            _branch(color, cover, np.array([_SIDE / 2, _SIDE - 1.0]), -np.pi / 2, _SIDE * 0.24, _SIDE * 0.05, rng)
            _crown(color, cover, (0.5, 0.4), (0.44, 0.37), int(rng.integers(70, 150)), rng)
            outline = np.asarray(cv2.morphologyEx(cover, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)), np.uint8)
        case "conifer":
            cv2.line(color, (_SIDE // 2, _SIDE), (_SIDE // 2, _SIDE // 2), (60, 48, 40), 9)
            cv2.line(cover, (_SIDE // 2, _SIDE), (_SIDE // 2, _SIDE // 2), 255, 9)
            _fir(color, cover, rng)
            outline = cover
        case _:
            _crown(color, cover, (0.5, 0.55), (0.44, 0.42), 130, rng)
            outline = cover
    return make_sprite(color, cover, outline)


def _crown(
    color: Image,
    cover: Image,
    center: tuple[float, float],
    radii: tuple[float, float],
    clumps: int,
    rng: np.random.Generator,
) -> None:
    """Clumps of leaves, lighter towards the upper side, holes between them."""
    depth = np.zeros(cover.shape, np.uint8)
    for i in range(clumps):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1)) * 0.85
        x = int((center[0] + radii[0] * reach * np.cos(angle)) * _SIDE)
        y = int((center[1] + radii[1] * reach * np.sin(angle)) * _SIDE)
        size = int(_SIDE * rng.uniform(0.035, 0.09))
        tone = int(np.clip(135 - 90 * (y / _SIDE - 0.2) + rng.normal(0, 22) + 20 * i / clumps, 30, 230))
        cv2.ellipse(
            depth,
            (x, y),
            (size, max(int(size * rng.uniform(0.5, 0.9)), 2)),
            float(rng.uniform(-40, 40)),
            0,
            360,
            tone,
            -1,
        )
    leaves = crop(fractal_tile(70, coarsest=32, falloff=0.95), rng, _SIDE, _SIDE)
    soft = np.asarray(cv2.GaussianBlur(depth, (0, 0), 1.5), np.float32)
    inside = np.asarray(cv2.GaussianBlur((depth > 0).astype(np.float32), (0, 0), float(rng.uniform(3, 7))), np.float32)
    solid = np.where((inside > 0.2) & (inside + 0.28 * leaves > float(rng.uniform(0.5, 0.72))), 255, 0).astype(np.uint8)
    tone3 = np.clip(np.maximum(soft, 60) * (1 + 0.36 * leaves) / 110, 0.12, 2.4)[:, :, None]
    base = (
        np.asarray((76, 84, 50), np.float32)
        * rng.uniform(0.85, 1.1)
        * (1, 1 + rng.normal(0, 0.06), 1 + rng.normal(0, 0.1))
    )
    painted = np.clip(tone3 * base, 0, 255).astype(np.uint8)
    cv2.copyTo(painted, solid, color)
    np.maximum(cover, solid, out=cover)


def _fir(color: Image, cover: Image, rng: np.random.Generator) -> None:
    for row in range(int(_SIDE * 0.9), 6, -3):
        half = (row / _SIDE) ** 0.9 * _SIDE * 0.42 * rng.uniform(0.7, 1.05)
        tone = rng.uniform(0.5, 1.1)
        paint = (int(52 * tone), int(66 * tone), int(44 * tone))
        for hand in (-1, 1):
            tip = (int(_SIDE / 2 + hand * half), int(row + 7 * rng.uniform(-0.2, 1.4)))
            for target, ink in ((color, paint), (cover, 255)):
                corners = np.array([(_SIDE // 2, row - 12), tip, (_SIDE // 2, row + 6)], np.int32)
                cv2.fillPoly(target, [corners], ink)


def _branch(
    color: Image,
    cover: Image,
    foot: NDArray[np.float64],
    angle: float,
    length: float,
    thick: float,
    rng: np.random.Generator,
) -> None:
    """A branch and, recursively, what grows from it."""
    tip = foot + length * np.array([np.cos(angle), np.sin(angle)])
    tone = float(rng.uniform(0.75, 1.15))
    ends = (tuple(int(v * 16) for v in foot), tuple(int(v * 16) for v in tip))
    width = max(round(thick), 1)
    cv2.line(color, *ends, (int(66 * tone), int(58 * tone), int(52 * tone)), width + 1, cv2.LINE_8, 4)
    cv2.line(cover, *ends, int(min(255, 175 + 80 * thick)), width, cv2.LINE_AA, 4)
    if length < 9:
        return
    for _ in range(int(rng.choice([2, 3], p=[0.45, 0.55]))):
        start = foot + (tip - foot) * rng.uniform(0.6, 1.0)
        _branch(
            color,
            cover,
            start,
            angle + rng.normal(0, 0.48),
            length * rng.uniform(0.62, 0.86),
            thick * 0.62,
            rng,
        )
