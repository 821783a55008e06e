"""Trees, bushes and hedges."""

from typing import Literal

import numpy as np

from adaptseg_training.data.streets.palette import pick
from adaptseg_training.data.streets.plan import Plan, Side
from adaptseg_training.data.streets.scene import Barrier, Place, Plant, Scene

PlantKind = Literal["broadleaf", "conifer", "bare", "bush"]


def plant(at: Place, rng: np.random.Generator, kind: PlantKind | None = None) -> Plant:
    """A plant of that kind, or a tree of any."""
    chosen: PlantKind = kind or ("broadleaf", "conifer", "bare")[int(rng.choice(3, p=[0.42, 0.08, 0.5]))]
    height = float(rng.uniform(0.7, 2.4) if chosen == "bush" else rng.lognormal(2.0, 0.35))
    wide = float(
        rng.uniform(1.0, 1.9) if chosen == "bush" else rng.uniform(0.65, 1.1) * (0.5 if chosen == "conifer" else 1)
    )
    gray = float(np.exp(rng.normal(0.0, 0.2)))
    tint = (gray * float(rng.normal(1, 0.1)), gray, gray * float(rng.normal(1, 0.08)))
    return Plant(at, height, height * wide, chosen, int(rng.integers(1000)), tint)


def grow_park(
    scene: Scene,
    plan: Plan,
    side: Side,
    span: tuple[float, float],
    band: tuple[float, float],
    density: float,
    rng: np.random.Generator,
) -> None:
    """Trees and bushes at `density` per square metre between two offsets."""
    area = max(span[1] - span[0], 0) * max(band[1] - band[0], 0)
    mono: PlantKind | None = "bare" if rng.random() < 0.45 else None
    for _ in range(min(int(rng.poisson(area * density)), 24)):
        s, d = float(rng.uniform(max(span[0], -4), span[1])), float(rng.uniform(*band))
        kind: PlantKind | None = "bush" if rng.random() < 0.3 else mono
        scene.things.append(plant(plan.road.at(s, side.hand * d), rng, kind))


def hedge_row(
    scene: Scene, plan: Plan, side: Side, span: tuple[float, float], offset: float, rng: np.random.Generator
) -> None:
    height = float(rng.uniform(0.8, 2.4))
    color = pick(rng, ((62, 76, 40), (74, 82, 48), (54, 62, 36)))
    s = max(span[0], -2.0)
    while s < span[1]:
        e = min(s + 3 + 0.12 * max(s, 0), span[1])
        ends = plan.road.at(s, side.hand * offset), plan.road.at(e, side.hand * offset)
        scene.things.append(Barrier(*ends, height * float(rng.uniform(0.93, 1.07)), "hedge", color))
        s = e
