"""Street furniture along a pavement: lamps, signs, signals, bollards, bins, street trees and railings."""

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.layout_green import plant
from adaptseg_training.data.streets.palette import SHOP_COLORS, pick, scaled
from adaptseg_training.data.streets.plan import Plan, Side
from adaptseg_training.data.streets.scene import Barrier, Post, Scene

_STEELS: tuple[Color, ...] = ((44, 46, 48), (96, 98, 100), (146, 148, 148))


def furnish(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    """Everything that stands on this pavement but people."""
    _lamps(scene, plan, side, rng)
    _signs(scene, plan, side, rng)
    if plan.junction is not None and rng.random() < 0.7:
        _signals(scene, plan, side, plan.junction, rng)
    elif rng.random() < 0.12:
        _signals(scene, plan, side, float(rng.uniform(12, 40)), rng)
    if rng.random() < 0.55:
        _street_trees(scene, plan, side, rng)
    if rng.random() < 0.35:
        _railing(scene, plan, side, rng)
    for _ in range(int(rng.poisson(2.4))):
        s = float(rng.uniform(3, 40))
        if rng.random() < 0.5:
            scene.things.append(
                Post(
                    plan.road.at(s, side.hand * (side.kerb + 0.5)),
                    1.0,
                    "bollard",
                    0,
                    (40, 40, 42),
                    int(rng.integers(9)),
                )
            )
        else:
            scene.things.append(
                Post(
                    plan.road.at(s, side.hand * (side.edge - 0.5)),
                    float(rng.uniform(0.8, 2.2)),
                    "bin",
                    0,
                    scaled(pick(rng, SHOP_COLORS), 0.6),
                    int(rng.integers(99)),
                )
            )


def _lamps(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    step, height = float(rng.uniform(20, 38)), float(rng.uniform(5, 10))
    wooden = rng.random() < 0.15
    color = (92, 78, 64) if wooden else ((60, 64, 62) if rng.random() < 0.5 else (128, 130, 130))
    offset = side.kerb + 0.4 if rng.random() < 0.5 else max(side.edge - 0.4, side.kerb + 0.4)
    arm = 0.0 if wooden else -side.hand * float(rng.uniform(0.6, 2.2))
    s = float(rng.uniform(3, step))
    if rng.random() < 0.15:
        return
    while s < plan.far:
        scene.things.append(
            Post(plan.road.at(s, side.hand * offset), height, "plain" if wooden else "lamp", arm, color, 0)
        )
        s += step


def _signs(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    for _ in range(int(rng.poisson(3.8))):
        s = float(rng.uniform(4, 55))
        kind = "plain" if rng.random() < 0.2 else "sign"
        at = plan.road.at(s, side.hand * (side.kerb + float(rng.uniform(0.3, 0.8))))
        height = float(rng.uniform(2.2, 3.3))
        scene.things.append(
            Post(at, height, "sign" if kind == "sign" else "plain", 0, pick(rng, _STEELS), int(rng.integers(1000)))
        )
    if rng.random() < 0.08:
        at = plan.road.at(float(rng.uniform(7, 30)), plan.divider(-plan.own))
        scene.things.append(Post(at, 1.1, "beacon", 0, (220, 200, 60), 0))


def _signals(scene: Scene, plan: Plan, side: Side, s: float, rng: np.random.Generator) -> None:
    variant = int(rng.integers(1000))
    for place in (s - 1.0, s + plan.crossing + 1.0):
        at = plan.road.at(place, side.hand * (side.kerb + 0.5))
        arm = -side.hand * 4.0 if rng.random() < 0.12 else 0.0
        scene.things.append(Post(at, float(rng.uniform(3.0, 3.8)), "signals", arm, pick(rng, _STEELS), variant))


def _street_trees(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    step, offset = float(rng.uniform(7, 16)), side.kerb + float(rng.uniform(0.5, 1.2))
    model = plant((0, 0), rng)
    for s in np.arange(float(rng.uniform(4, 14)), plan.far * 0.7, step):
        if rng.random() < 0.85:
            one = plant(plan.road.at(float(s), side.hand * offset), rng, model.kind)
            scene.things.append(one)


def _railing(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    start, length = float(rng.uniform(1, 20)), float(rng.uniform(10, 45))
    color = (60, 62, 64) if rng.random() < 0.6 else (170, 172, 172)
    for s in np.arange(start, start + length, 2.5):
        a, b = (plan.road.at(float(t), side.hand * (side.kerb + 0.3)) for t in (s, s + 2.5))
        scene.things.append(Barrier(a, b, 1.05, "railing", color))
