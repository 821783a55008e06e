"""People on foot, and on bicycles and motorcycles: jointed cut-outs that face the camera."""

import math
from itertools import pairwise

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.ids import BICYCLE, MOTORCYCLE, PERSON, RIDER
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.scene import Person, TwoWheeler
from adaptseg_training.data.streets.stage import Cutout, Stage

_SKIN: Color = (168, 128, 104)
_HAIR: Color = (52, 42, 36)


def draw_person(stage: Stage, person: Person) -> None:
    sheet = stage.cutout(person.at)
    if sheet is None:
        return
    k = person.height / 1.75
    coat, legs = (stage.light.shade(c, 0.3, sheet.depth) for c in (person.coat, person.legs))
    step = person.stride
    _ground_shadow(sheet, scaled(legs, 0.3))
    for foot, dark in ((step, 0.75), (-step, 1.0)):
        sheet.bar((0.07 * foot, 0.9 * k), (foot * 0.6, 0.45 * k), 0.17 * k, scaled(legs, dark), PERSON)
        sheet.bar((foot * 0.6, 0.47 * k), (foot, 0.03), 0.14 * k, scaled(legs, dark), PERSON)
        sheet.bar((foot - 0.07, 0.04), (foot + 0.09, 0.04), 0.06, scaled(legs, 0.5), PERSON)
    _upper_body(stage, sheet, (0.0, 0.85 * k), k, coat, step, PERSON)
    if person.bag:
        hand = math.copysign(0.27, step)
        sheet.polygon(
            [(hand - 0.12, 0.75), (hand + 0.1, 0.75), (hand + 0.12, 1.1), (hand - 0.1, 1.1)],
            scaled(coat, 0.6),
            PERSON,
        )


def _ground_shadow(sheet: Cutout, color: Color) -> None:
    sheet.polygon([(-0.22, -0.03), (0.22, -0.03), (0.2, 0.02), (-0.2, 0.02)], color, None)


def _upper_body(
    stage: Stage, sheet: Cutout, hip: tuple[float, float], k: float, coat: Color, swing: float, train_id: int
) -> None:
    """Torso, arms and head above the hip."""
    x, y = hip
    skin, hair = (stage.light.shade(c, 0.3, sheet.depth) for c in (_SKIN, _HAIR))
    lean = 0.05 * swing
    sheet.bar(
        (x + lean - 0.22 * k, y + 0.55 * k),
        (x - swing * 0.6 - 0.2 * k, y + 0.02),
        0.12 * k,
        scaled(coat, 0.8),
        train_id,
    )
    torso = [
        (-0.17, -0.05),
        (0.17, -0.05),
        (0.2, 0.3),
        (0.23, 0.55),
        (0.1, 0.63),
        (-0.1, 0.63),
        (-0.23, 0.55),
        (-0.2, 0.3),
    ]
    sheet.polygon([(x + a * k + lean, y + b * k) for a, b in torso], coat, train_id)
    sheet.polygon([(x + a * k + lean, y + b * k) for a, b in torso[1:5]], scaled(coat, 1.15), train_id)
    sheet.bar(
        (x + lean + 0.22 * k, y + 0.55 * k),
        (x + swing * 0.6 + 0.2 * k, y + 0.02),
        0.12 * k,
        scaled(coat, 0.9),
        train_id,
    )
    sheet.bar((x + lean, y + 0.6 * k), (x + lean, y + 0.7 * k), 0.1 * k, skin, train_id)
    sheet.disc((x + lean, y + 0.78 * k), 0.13 * k, skin, train_id, 0.78)
    sheet.disc((x + lean - 0.01, y + 0.83 * k), 0.1 * k, hair, train_id, 0.95)


def draw_two_wheeler(stage: Stage, bike: TwoWheeler) -> None:
    sheet = stage.cutout(bike.at)
    if sheet is None:
        return
    bearing = math.atan2(bike.at[0], max(bike.at[1], 0.1))
    turned = math.sin(bike.heading - bearing)
    wide = math.copysign(max(abs(turned), 0.08), turned)
    coat, frame = (stage.light.shade(c, 0.3, sheet.depth) for c in (bike.coat, bike.frame))
    _ground_shadow(sheet, scaled(frame, 0.2))
    if bike.kind == "motorcycle":
        _motorcycle(stage, sheet, wide, frame)
    else:
        _bicycle(stage, sheet, wide, frame)
    if bike.ridden:
        _rider(stage, sheet, wide, coat)
        if abs(wide) < 0.4:  # the wheel between the rider and the camera
            dark = stage.light.shade((24, 24, 26), 0.2, sheet.depth)
            sheet.bar((0.0, 0.0), (0.0, 0.66), 0.09, dark, MOTORCYCLE if bike.kind == "motorcycle" else BICYCLE)


def _wheel(sheet: Cutout, x: float, radius: float, wide: float, thick: float, color: Color, train_id: int) -> None:
    angles = np.linspace(0, 2 * np.pi, 13)
    ring = np.stack([x + np.cos(angles) * radius * abs(wide), radius + np.sin(angles) * radius], axis=1)
    if abs(wide) < 0.3:
        sheet.bar((x, 0.0), (x, 2 * radius), max(thick, 0.05), color, train_id)
        return
    for a, b in pairwise(ring):
        sheet.bar((a[0], a[1]), (b[0], b[1]), thick, color, train_id)


def _bicycle(stage: Stage, sheet: Cutout, wide: float, frame: Color) -> None:
    tyre = stage.light.shade((24, 24, 26), 0.2, sheet.depth)
    for x in (-0.52, 0.52):
        _wheel(sheet, x * wide, 0.34, wide, 0.05, tyre, BICYCLE)
    points = [(-0.52, 0.34), (-0.1, 0.3), (-0.2, 0.85), (0.38, 0.88), (0.52, 0.34)]
    p = [(x * wide, y) for x, y in points]
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 3), (2, 3), (3, 4)):
        sheet.bar(p[a], p[b], 0.04, frame, BICYCLE)
    grip = 0.28 * (1 - abs(wide))
    sheet.bar((0.36 * wide - grip, 1.0), (0.36 * wide + grip, 1.02), 0.045, tyre, BICYCLE)


def _motorcycle(stage: Stage, sheet: Cutout, wide: float, paint: Color) -> None:
    dark = stage.light.shade((26, 26, 28), 0.2, sheet.depth)
    for x in (-0.68, 0.68):
        _wheel(sheet, x * wide, 0.31, wide, 0.13, dark, MOTORCYCLE)
    body = [(-0.9, 0.75), (-0.3, 0.35), (0.4, 0.4), (0.62, 0.95), (0.3, 1.05), (-0.2, 0.82)]
    spread = 0.16 * (1 - abs(wide))
    outline = [(x * wide - spread, y) for x, y in body] + [(x * wide + spread, y) for x, y in reversed(body)]
    sheet.polygon(outline if abs(wide) < 0.6 else [(x * wide, y) for x, y in body], paint, MOTORCYCLE)
    sheet.bar((0.45 * wide - 2.2 * spread, 1.08), (0.45 * wide + 2.2 * spread, 1.08), 0.06, dark, MOTORCYCLE)
    if stage.light.look.lamps > 0:
        sheet.disc((0.0, 0.85), 0.09, (240, 60, 46), MOTORCYCLE)


def _rider(stage: Stage, sheet: Cutout, wide: float, coat: Color) -> None:
    legs = stage.light.shade((44, 46, 56), 0.3, sheet.depth)
    apart = 0.12 * (1 - abs(wide))
    for hand, knee in ((-1, 0.55), (1, 0.72)):
        sheet.bar((-0.2 * wide + hand * apart, 0.95), (0.12 * wide + hand * apart, knee), 0.15, legs, RIDER)
        sheet.bar(
            (0.12 * wide + hand * apart, knee),
            (-0.08 * wide + hand * apart, 0.22),
            0.11,
            scaled(legs, 0.8),
            RIDER,
        )
    _upper_body(stage, sheet, (-0.12 * wide, 0.92), 0.95, coat, 0.35 * wide, RIDER)
    sheet.bar((0.05 * wide, 1.38), (0.36 * wide, 1.05), 0.1, scaled(coat, 0.9), RIDER)
