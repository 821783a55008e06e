"""Plots along the street: terraces, blocks, detached houses, parks and car parks."""

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.facade_art import facade
from adaptseg_training.data.streets.layout_bounds import enclose
from adaptseg_training.data.streets.layout_green import grow_park, plant
from adaptseg_training.data.streets.layout_vehicles import park_cars
from adaptseg_training.data.streets.palette import ROOFS, pick
from adaptseg_training.data.streets.plan import Plan, Side
from adaptseg_training.data.streets.scene import Building, Patch, Place, Scene, Surface

Span = tuple[float, float]


def lay_ground(
    scene: Scene, plan: Plan, side: Side, span: Span, inner: float, surface: Surface, width: float = 70.0
) -> None:
    """A strip of ground from `inner` metres beside the camera's path outwards."""
    colors: dict[Surface, Color] = {"road": scene.asphalt, "sidewalk": scene.paving, "terrain": scene.grass}
    d = sorted((side.hand * inner, side.hand * (inner + width)))
    scene.patches.append(Patch(plan.road.strip(span, (d[0], d[1])), colors.get(surface, (90, 88, 86)), surface))


def build_plot(scene: Scene, plan: Plan, side: Side, kind: str, span: Span, rng: np.random.Generator) -> None:
    """Ground, buildings and what stands before them, beyond the pavement."""
    match kind:
        case "terrace":
            lay_ground(scene, plan, side, span, side.kerb, "sidewalk")
            _terrace(scene, plan, side, span, float(rng.choice([0.0, rng.uniform(0.5, 3)], p=[0.7, 0.3])), rng)
        case "block":
            setback = float(rng.uniform(1, 14))
            lay_ground(scene, plan, side, span, side.kerb, "terrain" if rng.random() < 0.5 else "sidewalk")
            _block(scene, plan, side, span, setback, rng)
            if setback > 4 and rng.random() < 0.6:
                grow_park(scene, plan, side, span, (side.edge + 1, side.edge + setback - 1.5), 0.02, rng)
        case "houses":
            lay_ground(scene, plan, side, span, side.kerb, "terrain")
            _houses(scene, plan, side, span, rng)
        case "park":
            lay_ground(scene, plan, side, span, side.kerb, "terrain")
            density = float(rng.uniform(0.006, 0.02))
            grow_park(scene, plan, side, span, (side.edge + 1.5, side.edge + 30), density, rng)
            if plan.kind != "highway":
                enclose(scene, plan, side, span, side.edge + 0.2, rng)
        case _:
            lay_ground(scene, plan, side, span, side.kerb, "road")
            park_cars(scene, plan, side, span, rng)
            _block(scene, plan, side, span, float(rng.uniform(16, 34)), rng)


def _building(
    scene: Scene,
    plan: Plan,
    side: Side,
    span: Span,
    offset: float,
    depth: float,
    rng: np.random.Generator,
    number: int,
) -> None:
    road, hand = plan.road, side.hand
    near, far = road.at(span[0], hand * offset), road.at(span[1], hand * offset)
    start, stop = (near, far) if hand < 0 else (far, near)
    scene.things.append(_house(start, (stop[0] - start[0], stop[1] - start[1]), depth, number, rng))


def close_street(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    """The street ends at one across it, lined on the far side with buildings that face the camera."""
    x, z = plan.road.at(plan.far, 0.0)
    width, walk = float(rng.uniform(7, 16)), float(rng.uniform(1.5, 6))
    for surface, near, far in (("road", z - 1, z + width), ("sidewalk", z + width, z + width + 60)):
        outline = np.array([(x - 90, 0, near), (x + 90, 0, near), (x + 90, 0, far), (x - 90, 0, far)], np.float64)
        color = scene.asphalt if surface == "road" else scene.paving
        scene.patches.append(Patch(outline, color, "road" if surface == "road" else "sidewalk"))
    across = x - 60
    while across < x + 60:
        number = int(rng.integers(1000))
        wide = facade(number).width * int(rng.integers(1, 3))
        scene.things.append(_house((across, z + width + walk), (wide, 0.0), 10.0, number, rng))
        across += wide + float(rng.choice([0.0, rng.uniform(2, 12)], p=[0.75, 0.25]))


def _house(corner: Place, front: Place, depth: float, number: int, rng: np.random.Generator) -> Building:
    pitched = facade(number).height < 11 and rng.random() < 0.6
    gray = float(rng.normal(1.0, 0.13))
    tint = (gray, gray * float(rng.normal(1, 0.03)), gray * float(rng.normal(1, 0.05)))
    roof = pick(rng, ROOFS)
    return Building(corner, front, depth, number, "pitched" if pitched else "flat", tint, roof, int(rng.integers(0, 3)))


def _terrace(scene: Scene, plan: Plan, side: Side, span: Span, setback: float, rng: np.random.Generator) -> None:
    s = span[0]
    repeat = rng.random() < 0.3
    number = int(rng.integers(1000))
    while s < span[1] - 2:
        if not repeat or rng.random() < 0.1:
            number = int(rng.integers(1000))
        width = min(facade(number).width * int(rng.integers(1, 3)), 26.0, span[1] - s)
        _building(scene, plan, side, (s, s + width), side.edge + setback, 10, rng, number)
        s += width
    if setback > 1.5:
        enclose(scene, plan, side, span, side.edge + 0.1, rng)


def _block(scene: Scene, plan: Plan, side: Side, span: Span, setback: float, rng: np.random.Generator) -> None:
    number = int(rng.integers(1000))
    start, end = span[0] + float(rng.uniform(0, 4)), span[1] - float(rng.uniform(0, 4))
    pieces = max(int((end - start) // 14), 1)
    for i in range(pieces):
        a, b = start + (end - start) * i / pieces, start + (end - start) * (i + 1) / pieces
        _building(scene, plan, side, (a, b), side.edge + setback, 14, rng, number)


def _houses(scene: Scene, plan: Plan, side: Side, span: Span, rng: np.random.Generator) -> None:
    setback = float(rng.uniform(3, 10))
    enclose(scene, plan, side, span, side.edge + 0.2, rng)
    s = span[0] + float(rng.uniform(0, 4))
    while s < span[1] - 6:
        width = min(float(rng.uniform(7, 13)), span[1] - s)
        _building(scene, plan, side, (s, s + width), side.edge + setback, 9, rng, int(rng.integers(1000)))
        for _ in range(int(rng.poisson(1.4))):
            at = plan.road.at(
                s + float(rng.uniform(-2, width)), side.hand * (side.edge + float(rng.uniform(0.8, setback)))
            )
            scene.things.append(plant(at, rng, "bush" if rng.random() < 0.55 else None))
        s += width + float(rng.uniform(1.5, 9))
