"""Who is on the road and on the pavements: cars, trucks, buses, two-wheelers, people."""

import numpy as np

from adaptseg_training.data.streets.layout_vehicles import vehicle
from adaptseg_training.data.streets.palette import CAR_PAINT, CLOTHES, TROUSERS, pick
from adaptseg_training.data.streets.plan import Plan, Side
from adaptseg_training.data.streets.scene import Person, Place, Scene, TwoWheeler


def fill_road(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    heavy = 0.12 if plan.kind == "highway" else 0.06
    busy = float(rng.uniform(0.1, 0.8))
    for lane in range(-plan.own, plan.same - plan.own):
        _lane(scene, plan, lane, 0.0, busy * (0.8 if lane == 0 else 0.9), heavy, rng)
    for lane in range(-plan.own - plan.oncoming, -plan.own):
        _lane(scene, plan, lane, np.pi, busy, heavy, rng)
    for side in (plan.left, plan.right):
        if side.parking:
            _kerb_parking(scene, plan, side, rng)
        if side.walk > 0:
            _walkers(scene, plan, side, rng)
    if plan.junction is not None and plan.junction > 8:
        _cross_traffic(scene, plan, plan.junction, rng)
    if plan.kind != "highway":
        _two_wheelers(scene, plan, rng)
        if rng.random() < 0.14:
            _crossing_people(scene, plan, rng)


def _lane(
    scene: Scene, plan: Plan, lane: int, turn: float, busy: float, heavy: float, rng: np.random.Generator
) -> None:
    s = float(rng.uniform(7, 14)) + float(rng.exponential(14 / busy))
    if lane != 0 and rng.random() < 0.12:
        s = float(rng.uniform(3, 9))
    while s < min(130, plan.far + 3):
        d = plan.lane_middle(lane) + float(rng.normal(0, 0.2))
        scene.things.append(vehicle(plan.road.at(s, d), plan.road.heading(s) + turn, rng, heavy))
        s += 8 + float(rng.exponential(16 / busy))


def _kerb_parking(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    s, d = float(rng.uniform(3, 16)), side.hand * (side.kerb - 1.05)
    turn = np.pi if side.hand < 0 and plan.oncoming else 0.0
    full = float(rng.uniform(0.2, 0.9))
    while s < plan.far * 0.6:
        clear = plan.junction is None or not plan.junction - 6 < s < plan.junction + plan.crossing + 6
        if clear and rng.random() < full:
            scene.things.append(vehicle(plan.road.at(s, d), plan.road.heading(s) + turn, rng, parked=True))
        s += float(rng.uniform(5.2, 6.8))


def _cross_traffic(scene: Scene, plan: Plan, junction: float, rng: np.random.Generator) -> None:
    for _ in range(int(rng.poisson(1.0))):
        way = float(rng.choice([-1, 1]))
        s = junction + plan.crossing * (0.5 + 0.22 * way)
        d = float(rng.uniform(plan.road.left - 12, plan.road.right + 12))
        scene.things.append(vehicle(plan.road.at(s, d), way * np.pi / 2, rng))


def _person(at: Place, rng: np.random.Generator) -> Person:
    return Person(
        at,
        float(rng.normal(1.7, 0.1)),
        pick(rng, CLOTHES, 0.2),
        pick(rng, TROUSERS, 0.2),
        float(rng.choice([-1, 1]) * rng.uniform(0.08, 0.36)),
        bool(rng.random() < 0.35),
    )


def _walkers(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    rate = {"town": 4.0, "suburb": 1.2, "open": 1.8, "park": 1.0, "highway": 0.0}[plan.kind]
    for _ in range(int(rng.poisson(rate * float(rng.uniform(0.2, 2.0))))):
        s = float(4 + rng.gamma(1.6, 14))
        for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))):
            d = side.hand * (side.kerb + side.walk * float(rng.uniform(0.15, 0.9)))
            scene.things.append(_person(plan.road.at(s + float(rng.normal(0, 0.4)), d), rng))


def _crossing_people(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    s = (plan.junction - 4) if plan.junction is not None and plan.junction > 12 else float(rng.uniform(8, 35))
    for _ in range(int(rng.integers(1, 4))):
        d = float(rng.uniform(plan.road.left, plan.road.right))
        scene.things.append(_person(plan.road.at(s + float(rng.normal(0, 1)), d), rng))


def _two_wheelers(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    for _ in range(int(rng.poisson(1.4))):
        ahead = rng.random() < 0.65
        s = float(5 + rng.gamma(1.5, 10))
        motor = rng.random() < 0.15
        edge = plan.road.right - 0.7 - (2.0 if plan.right.parking else 0)
        if not ahead:
            edge = plan.road.left + 0.7 + (2.0 if plan.left.parking else 0)
        heading = plan.road.heading(s) + (0.0 if ahead else np.pi) + float(rng.normal(0, 0.3))
        scene.things.append(_two_wheeler(plan.road.at(s, edge), heading, motor, True, rng))
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 6))):
            d = plan.right.edge - 0.5
            at = plan.road.at(float(rng.uniform(4, 25)), d)
            scene.things.append(_two_wheeler(at, float(rng.uniform(0, 6)), rng.random() < 0.1, False, rng))


def _two_wheeler(at: Place, heading: float, motor: bool, ridden: bool, rng: np.random.Generator) -> TwoWheeler:
    coat = (190, 210, 50) if rng.random() < 0.15 else pick(rng, CLOTHES, 0.2)
    return TwoWheeler(at, heading, "motorcycle" if motor else "bicycle", coat, pick(rng, CAR_PAINT), ridden)
