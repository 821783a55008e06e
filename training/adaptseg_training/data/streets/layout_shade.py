"""Shadows over the ground: of the buildings on the sun's side, and of trees."""

import numpy as np

from adaptseg_training.data.streets.plan import Plan
from adaptseg_training.data.streets.scene import Plant, Scene


def cast_shadows(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    """Roofs shade a strip with steps; now and then the whole street lies in shade, or none of it."""
    hand = 1.0 if np.sin(scene.sun_angle) > 0 else -1.0
    road = plan.road
    whole = road.right - road.left + 6
    reach = (
        float(rng.choice([0.0, rng.uniform(0.2, 0.8), 1.6], p=[0.35, 0.4, 0.25]))
        if plan.kind in ("town", "suburb")
        else 0.0
    )
    s = -3.0
    edge = hand * (road.right if hand > 0 else -road.left)
    while reach > 0 and s < 120:
        length = float(rng.uniform(5, 18))
        if rng.random() < 0.92:
            inner = edge - hand * whole * reach * float(rng.uniform(0.7, 1.3))
            d = sorted((inner, edge + hand * 40))
            scene.shadows.append(road.strip((s, s + length), (d[0], d[1])))
        s += length
    for thing in scene.things:
        if isinstance(thing, Plant) and thing.height > 3 and thing.at[1] < 60 and rng.random() < 0.7:
            scene.shadows.extend(_dapples(thing, scene.sun_angle, rng))


def _dapples(
    tree: Plant, sun_angle: float, rng: np.random.Generator
) -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """The crown's shadow, in blobs thrown away from the sun."""
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    blobs = []
    for _ in range(3 if tree.kind == "bare" else 6):
        away = tree.height * float(rng.uniform(0.4, 1.5))
        x = tree.at[0] - np.sin(sun_angle) * away + rng.normal(0, 0.3 * tree.width)
        z = tree.at[1] - np.cos(sun_angle) * away + rng.normal(0, 0.3 * tree.width)
        radius = tree.width * rng.uniform(0.08, 0.28) * rng.uniform(0.6, 1.4, 9)
        blobs.append(np.stack([x + radius * np.cos(angles), np.zeros(9), z + radius * np.sin(angles)], axis=1))
    return blobs
