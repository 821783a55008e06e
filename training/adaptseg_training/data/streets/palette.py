"""Surface colours (R, G, B 0..255) and how to draw from them."""

import numpy as np

from adaptseg_training.data.streets.canvas import Color

CAR_PAINT: tuple[Color, ...] = (
    (190, 192, 196),
    (150, 154, 160),
    (225, 226, 226),
    (28, 29, 33),
    (60, 62, 68),
    (40, 52, 92),
    (30, 36, 58),
    (132, 24, 28),
    (160, 32, 34),
    (36, 66, 52),
    (96, 100, 106),
    (176, 168, 146),
    (60, 92, 140),
    (200, 120, 40),
    (90, 20, 30),
    (70, 130, 90),
)
CLOTHES: tuple[Color, ...] = (
    (26, 27, 32),
    (40, 42, 50),
    (50, 56, 78),
    (34, 40, 62),
    (86, 80, 72),
    (120, 30, 34),
    (150, 150, 150),
    (60, 84, 60),
    (176, 160, 130),
    (62, 52, 46),
    (44, 44, 44),
    (80, 82, 90),
    (30, 30, 34),
    (36, 34, 32),
    (24, 28, 40),
    (70, 90, 130),
)
TROUSERS: tuple[Color, ...] = (
    (30, 32, 40),
    (44, 52, 74),
    (60, 66, 84),
    (24, 24, 26),
    (90, 84, 74),
    (56, 52, 48),
)
WALL_TINTS: tuple[Color, ...] = (
    (168, 146, 118),
    (150, 126, 98),
    (142, 84, 66),
    (128, 76, 60),
    (206, 200, 188),
    (222, 216, 204),
    (176, 170, 160),
    (190, 176, 150),
    (132, 128, 124),
    (156, 150, 140),
    (112, 98, 84),
    (214, 206, 178),
    (88, 72, 58),
    (104, 84, 64),
    (70, 63, 57),
    (96, 93, 90),
    (178, 154, 116),
)
PAVINGS: tuple[Color, ...] = ((90, 89, 88), (104, 98, 88), (112, 92, 82), (96, 96, 100))
ROOFS: tuple[Color, ...] = ((70, 68, 70), (86, 80, 78), (112, 74, 58), (98, 66, 54), (60, 60, 66))
SHOP_COLORS: tuple[Color, ...] = (
    (30, 60, 120),
    (140, 30, 36),
    (30, 80, 52),
    (40, 40, 46),
    (206, 170, 60),
    (90, 40, 80),
    (220, 220, 214),
    (60, 110, 140),
    (24, 30, 60),
    (110, 70, 40),
)
SOBER_FRONTS: tuple[Color, ...] = (
    (28, 28, 30),
    (44, 37, 31),
    (54, 50, 46),
    (30, 35, 37),
    (74, 66, 58),
    (36, 32, 44),
    (205, 198, 184),
    (140, 134, 126),
)
"""Of most shops: black, brown, grey or stone."""


def pick(rng: np.random.Generator, colors: tuple[Color, ...], spread: float = 0.08) -> Color:
    """One of the colours, its brightness and, less, its hue moved at random."""
    r, g, b = colors[int(rng.integers(len(colors)))]
    k = float(np.exp(rng.normal(0.0, spread)))
    t = rng.normal(0.0, spread * 0.3, 3)
    return (clip(r * k * (1 + t[0])), clip(g * k * (1 + t[1])), clip(b * k * (1 + t[2])))


def clip(value: float) -> float:
    return float(min(max(value, 0.0), 255.0))


def scaled(color: Color, k: float) -> Color:
    return (min(color[0] * k, 255.0), min(color[1] * k, 255.0), min(color[2] * k, 255.0))


def mixed(a: Color, b: Color, share: float) -> Color:
    """`a` with `share` (0..1) of `b`."""
    k = 1.0 - share
    return (a[0] * k + b[0] * share, a[1] * k + b[1] * share, a[2] * k + b[2] * share)


def pave(asphalt: Color, rng: np.random.Generator) -> Color:
    """A pavement's colour: mostly the road's own asphalt, so that the kerb tells them apart; else slabs or setts."""
    if rng.random() < 0.55:
        return scaled(asphalt, float(np.exp(rng.normal(0.03, 0.08))))
    return pick(rng, PAVINGS, 0.16)
