"""Things on posts: lamps, signs, signals, bollards, bins."""

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.ids import IGNORE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.scene import Post
from adaptseg_training.data.streets.stage import Cutout, Stage

_RED: Color = (176, 30, 34)
_BLUE: Color = (30, 70, 150)
_WHITE: Color = (226, 226, 222)
_GREEN: Color = (26, 96, 66)
_YELLOW: Color = (220, 180, 40)


def draw_post(stage: Stage, post: Post) -> None:
    sheet = stage.cutout(post.at)
    if sheet is None or sheet.depth < 1.5:
        return
    color = stage.light.shade(post.color, 0.4, sheet.depth)
    match post.kind:
        case "lamp" | "plain":
            _lamp(stage, sheet, post, color)
        case "signals":
            _signals(stage, sheet, post, color)
        case "sign":
            _upright(sheet, post.height, 0.075, color)
            _sign(stage, sheet, post)
        case "bin":
            _box(sheet, post, color)
        case "bollard":
            _upright(sheet, post.height, 0.14, color)
            sheet.bar((-0.07, 0.85), (0.07, 0.85), 0.07, stage.light.shade(_WHITE, 0.4, sheet.depth), POLE)
        case _:
            sheet.polygon([(-0.2, 0), (0.2, 0), (0.2, 1.1), (-0.2, 1.1)], color, TRAFFIC_SIGN)
            sheet.disc((0.0, 0.75), 0.17, stage.light.shade(_BLUE, 0.4, sheet.depth), TRAFFIC_SIGN)


def _box(sheet: Cutout, post: Post, color: Color) -> None:
    """A bin, cabinet, stand or kiosk: things no class is for."""
    w, h, lid = 0.2 + 0.06 * (post.variant % 7), post.height, 0.88 * post.height
    sheet.polygon([(-w, 0), (w, 0), (w * 1.05, lid), (-w * 1.05, lid)], color, IGNORE)
    sheet.polygon([(w * 0.2, 0), (w, 0), (w * 1.05, lid), (w * 0.2, lid)], scaled(color, 0.75), None)
    sheet.polygon([(-w * 1.15, lid), (w * 1.15, lid), (w, h), (-w, h)], scaled(color, 0.6), IGNORE)


def _upright(sheet: Cutout, height: float, width: float, color: Color) -> None:
    """A post, its right half darker; never so thin that it vanishes."""
    w = max(width, 1.2 / sheet.scale)
    sheet.polygon([(-w / 2, 0), (w / 2, 0), (w * 0.4, height), (-w * 0.4, height)], color, POLE)
    if w * sheet.scale > 4:
        sheet.polygon([(0, 0), (w / 2, 0), (w * 0.4, height), (0, height)], scaled(color, 0.75), None)


def _lamp(stage: Stage, sheet: Cutout, post: Post, color: Color) -> None:
    _upright(sheet, post.height, 0.17 if post.kind == "lamp" else 0.2, color)
    if post.kind == "plain":
        if post.height > 4:
            sheet.bar((-0.8, post.height - 0.5), (0.8, post.height - 0.5), 0.1, color, POLE)
        return
    reach, top = post.arm, post.height
    sheet.bar((0, top - 0.05), (reach, top + 0.2), 0.09, color, POLE)
    head = [
        (reach - 0.3, top + 0.12),
        (reach + 0.3, top + 0.12),
        (reach + 0.2, top + 0.32),
        (reach - 0.2, top + 0.32),
    ]
    sheet.polygon(head, (255, 226, 160) if stage.light.look.lamps > 0.7 else scaled(color, 1.1), POLE)


def _signals(stage: Stage, sheet: Cutout, post: Post, color: Color) -> None:
    _upright(sheet, post.height, 0.12, color)
    heads = [(0.0, post.height - 0.6)]
    if post.arm:
        sheet.bar((0, post.height + 1.8), (post.arm, post.height + 2.0), 0.1, color, POLE)
        _upright(sheet, post.height + 1.85, 0.14, color)
        heads.append((post.arm, post.height + 1.4))
    case_color = stage.light.shade((24, 25, 26), 0.3, sheet.depth)
    lit = post.variant % 3
    for x, y in heads:
        sheet.polygon(
            [(x - 0.2, y - 0.55), (x + 0.2, y - 0.55), (x + 0.2, y + 0.6), (x - 0.2, y + 0.6)],
            case_color,
            TRAFFIC_LIGHT,
        )
        for i, (on, off) in enumerate(
            (((255, 60, 46), (64, 20, 20)), ((255, 190, 60), (64, 48, 20)), ((70, 255, 190), (16, 52, 44)))
        ):
            glow: Color = on if i == lit else stage.light.shade(off, 0.4, sheet.depth)
            sheet.disc((x, y + 0.36 - 0.34 * i), 0.12, glow, TRAFFIC_LIGHT)


def _sign(stage: Stage, sheet: Cutout, post: Post) -> None:
    """A round, three-cornered or square plate near the top, or a board; seen from behind now and then."""
    rng = np.random.default_rng(post.variant)
    size, y = float(rng.uniform(0.28, 0.42)), post.height - 0.3

    def lit(color: Color) -> Color:
        return stage.light.shade(color, 0.45, sheet.depth)

    for _ in range(1 + int(rng.random() < 0.3)):
        match int(rng.integers(6)):
            case 0:
                _round(sheet, y, size, lit(_RED), lit(_WHITE))
            case 1:
                _round(sheet, y, size, lit(_WHITE), lit(_BLUE))
            case 2:
                edge = [(-size * 1.1, y - size * 0.8), (size * 1.1, y - size * 0.8), (0, y + size)]
                sheet.polygon(edge, lit(_RED), TRAFFIC_SIGN)
                sheet.polygon([(a * 0.66, (b - y) * 0.66 + y) for a, b in edge], lit(_WHITE), TRAFFIC_SIGN)
                sheet.bar((0, y - size * 0.35), (0, y + size * 0.3), size * 0.2, lit((30, 30, 30)), TRAFFIC_SIGN)
            case 3:
                _plate(sheet, y, (size * 1.1, size * 0.9), lit(_BLUE), lit(_WHITE))
            case 4:
                k = float(rng.uniform(1.2, 2.0))
                _plate(
                    sheet,
                    y,
                    (size * k, size * 0.8),
                    lit(_GREEN if rng.random() < 0.4 else _WHITE),
                    lit((60, 60, 60)),
                )
            case _:
                _plate(
                    sheet,
                    y,
                    (size, size),
                    lit((120, 122, 124) if rng.random() < 0.5 else _YELLOW),
                    lit((60, 60, 60)),
                )
        y -= 2.1 * size


def _round(sheet: Cutout, y: float, size: float, rim: Color, face: Color) -> None:
    sheet.disc((0, y), size, rim, TRAFFIC_SIGN)
    sheet.disc((0, y), size * 0.76, face, TRAFFIC_SIGN)


def _plate(sheet: Cutout, y: float, half: tuple[float, float], face: Color, ink: Color) -> None:
    w, h = half
    sheet.polygon([(-w, y - h), (w, y - h), (w, y + h), (-w, y + h)], face, TRAFFIC_SIGN)
    for line in (-0.4, 0.05, 0.5):
        sheet.bar((-w * 0.7, y + line * h), (w * 0.6, y + line * h), h * 0.18, ink, TRAFFIC_SIGN)
