"""What encloses gardens and parks: walls, hedges, railings, railed walls and board fences."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.layout_green import hedge_row
from adaptseg_training.data.streets.palette import pick
from adaptseg_training.data.streets.plan import Plan, Side
from adaptseg_training.data.streets.scene import Barrier, Place, Scene

Bound = Literal["wall", "hedge", "railing", "railed wall", "boards", "none"]

_SHARES = (0.18, 0.18, 0.20, 0.28, 0.10, 0.06)
_STONES: tuple[Color, ...] = ((140, 92, 72), (150, 134, 110), (120, 116, 110))
_RAILS: tuple[Color, ...] = ((46, 48, 50), (110, 88, 66), (150, 150, 146))


def enclose(
    scene: Scene, plan: Plan, side: Side, span: tuple[float, float], offset: float, rng: np.random.Generator
) -> None:
    """One kind of enclosure along `span`, `offset` metres beside the camera's path."""
    bound = get_args(Bound)[int(rng.choice(len(_SHARES), p=_SHARES))]
    stone, rail = pick(rng, _STONES), pick(rng, _RAILS)
    match bound:
        case "hedge":
            hedge_row(scene, plan, side, span, offset, rng)
        case "wall":
            _build(scene, plan, side, span, offset, ("wall", float(rng.uniform(0.7, 2.0)), stone))
        case "railing":
            _build(scene, plan, side, span, offset, ("railing", float(rng.uniform(0.9, 2.3)), rail))
        case "boards":
            _build(scene, plan, side, span, offset, ("boards", float(rng.uniform(1.1, 1.9)), rail))
        case "railed wall":
            plinth = float(rng.uniform(0.4, 1.1))
            _build(
                scene,
                plan,
                side,
                span,
                offset,
                ("railing", plinth + float(rng.uniform(0.7, 1.9)), rail),
                ("wall", plinth, stone),
            )


def _build(
    scene: Scene,
    plan: Plan,
    side: Side,
    span: tuple[float, float],
    offset: float,
    *layers: tuple[Literal["wall", "railing", "boards"], float, Color],
) -> None:
    """Barriers of (kind, height, colour), the later before the earlier."""
    for a, b in _pieces(plan, side, span, offset):
        scene.things.extend(Barrier(a, b, height, kind, color) for kind, height, color in layers)


def _pieces(plan: Plan, side: Side, span: tuple[float, float], offset: float) -> Iterator[tuple[Place, Place]]:
    """Short enough to paint in order of distance."""
    s = max(span[0], -2.0)
    while s < span[1]:
        e = min(s + 3 + 0.12 * max(s, 0), span[1])
        yield plan.road.at(s, side.hand * offset), plan.road.at(e, side.hand * offset)
        s = e
