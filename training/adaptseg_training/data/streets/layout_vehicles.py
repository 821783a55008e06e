"""Which vehicles, and cars parked in a car park."""

from typing import Literal

import numpy as np

from adaptseg_training.data.streets.palette import CAR_PAINT, pick
from adaptseg_training.data.streets.plan import Plan, Side
from adaptseg_training.data.streets.scene import Place, Scene, Vehicle

VehicleKind = Literal["hatchback", "sedan", "estate", "suv", "van", "truck", "bus"]
CAR_KINDS: tuple[VehicleKind, ...] = ("hatchback", "sedan", "estate", "suv", "van")


def vehicle(at: Place, heading: float, rng: np.random.Generator, heavy: float = 0.0, parked: bool = False) -> Vehicle:
    """A car, or with chance `heavy` a truck or bus."""
    kind: VehicleKind = CAR_KINDS[int(rng.choice(5, p=[0.38, 0.22, 0.15, 0.13, 0.12]))]
    color = pick(rng, CAR_PAINT)
    if rng.random() < heavy:
        kind = "bus" if rng.random() < 0.45 else "truck"
        color = pick(
            rng,
            ((200, 60, 50), (220, 220, 216), (40, 80, 150), (230, 200, 90), (60, 120, 90), (200, 200, 205)),
        )
    elif kind == "van" and rng.random() < 0.6:
        color = pick(rng, ((225, 226, 226), (205, 206, 208)))
    return Vehicle(at, heading, kind, color, float(rng.uniform(0.94, 1.07)), bool(rng.random() < 0.3), parked)


def park_cars(scene: Scene, plan: Plan, side: Side, span: tuple[float, float], rng: np.random.Generator) -> None:
    """Rows of parked cars, nose in or tail in, beyond the pavement."""
    for row in range(int(rng.integers(1, 3))):
        d = side.hand * (side.edge + 4 + 8 * row)
        for s in np.arange(max(span[0], 3) + 1.5, min(span[1], 70), 2.7):
            if rng.random() < 0.7:
                heading = np.pi / 2 * float(rng.choice([-1, 1])) + float(rng.normal(0, 0.03))
                scene.things.append(vehicle(plan.road.at(float(s), d), heading, rng, parked=True))
