"""What is painted and mended on the road: lane lines, arrows, crossings, patches, tar, manholes."""

import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.plan import Plan
from adaptseg_training.data.streets.scene import Patch, Scene

_PAINT: Color = (196, 196, 192)
_YELLOW: Color = (190, 160, 70)


def mark_lanes(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    """Lines between lanes, in the middle, and along the edges; some streets have few."""
    paint = scaled(_PAINT, float(rng.uniform(0.7, 1.2)))
    highway = plan.kind == "highway"
    width = float(rng.uniform(0.1, 0.18))
    dash, gap = (3.5, 8.0) if highway else (float(rng.uniform(1.5, 4)), float(rng.uniform(2, 6)))
    if rng.random() < 0.12 and not highway:
        return
    for lane in range(-plan.own + 1, plan.same - plan.own):
        _dashes(scene, plan, plan.divider(lane), width, (dash, gap), paint, rng)
    if plan.oncoming:
        middle = plan.divider(-plan.own)
        if rng.random() < 0.6:
            _dashes(scene, plan, middle, width, (dash, gap), paint, rng)
        else:
            _line(scene, plan, middle, width, paint)
        if rng.random() < 0.2:
            _line(scene, plan, middle + 2.2 * width, width, paint)
    edge_color = scaled(_YELLOW, float(rng.uniform(0.8, 1.2))) if rng.random() < 0.5 else paint
    for d, hand in ((plan.road.left, 1), (plan.road.right, -1)):
        inset = 2.4 if highway and hand < 0 else 0.35
        if highway or rng.random() < 0.5:
            _line(scene, plan, d + hand * inset, width, paint if highway else edge_color)
            if not highway and rng.random() < 0.6:
                _line(scene, plan, d + hand * (inset + 0.25), width, edge_color)


def _line(scene: Scene, plan: Plan, d: float, width: float, paint: Color) -> None:
    spans = [(0.0, 120.0)] if plan.junction is None else [(0.0, plan.junction), (plan.junction + plan.crossing, 120.0)]
    for span in spans:
        scene.markings.append(Patch(plan.road.strip(span, (d - width / 2, d + width / 2)), paint))


def _dashes(
    scene: Scene,
    plan: Plan,
    d: float,
    width: float,
    rhythm: tuple[float, float],
    paint: Color,
    rng: np.random.Generator,
) -> None:
    s = float(rng.uniform(-3, 4))
    while s < 85:
        if plan.junction is None or not plan.junction - 2 < s < plan.junction + plan.crossing:
            scene.markings.append(Patch(plan.road.strip((s, s + rhythm[0]), (d - width / 2, d + width / 2)), paint))
        s += sum(rhythm)


def mark_crossing(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    """Stop line, zebra and arrows before the junction; sometimes a zebra without one."""
    paint = scaled(_PAINT, float(rng.uniform(0.75, 1.2)))
    road = plan.road
    if plan.junction is not None and rng.random() < 0.6:
        stop = plan.junction - 1.5
        scene.markings.append(Patch(road.strip((stop - 0.35, stop), (plan.divider(-plan.own), road.right)), paint))
    if plan.kind != "highway" and rng.random() < 0.28:
        s = plan.junction - 5.5 if plan.junction is not None else float(rng.uniform(6, 40))
        for d in np.arange(road.left + 0.4, road.right - 0.4, 1.1):
            scene.markings.append(Patch(road.strip((s, s + 2.8), (float(d), float(d) + 0.55)), paint))
    if rng.random() < 0.3:
        for lane in range(-plan.own, plan.same - plan.own):
            _arrow(scene, plan, float(rng.uniform(7, 26)), plan.lane_middle(lane), paint)


def _arrow(scene: Scene, plan: Plan, s: float, d: float, paint: Color) -> None:
    shape = [(-0.1, 0), (-0.1, 2.2), (-0.4, 2.2), (0, 3.8), (0.4, 2.2), (0.1, 2.2), (0.1, 0)]
    bend = plan.road.at(s, d)
    outline = np.array([(bend[0] + x, 0.0, bend[1] + z) for x, z in shape])
    scene.markings.append(Patch(outline, paint))


def scatter_repairs(scene: Scene, plan: Plan, rng: np.random.Generator) -> None:
    """Patches of other asphalt, tar seams along and across, manholes and drains."""
    road = plan.road
    for _ in range(int(rng.poisson(2.0))):
        s, d = float(rng.uniform(2, 45)), float(rng.uniform(road.left, road.right - 1))
        size = (float(rng.uniform(1, 14)), float(rng.uniform(0.6, 2.6)))
        tone = scaled(scene.asphalt, float(rng.uniform(0.78, 1.16)))
        scene.markings.append(Patch(road.strip((s, s + size[0]), (d, min(d + size[1], road.right))), tone))
    for _ in range(int(rng.poisson(1.5))):
        d, width = float(rng.uniform(road.left, road.right)), float(rng.uniform(0.03, 0.1))
        scene.markings.append(
            Patch(road.strip((0, 60), (d, d + width)), scaled(scene.asphalt, float(rng.uniform(0.55, 0.8))))
        )
    for _ in range(int(rng.poisson(1.2))):
        s = float(rng.uniform(3, 40))
        scene.markings.append(Patch(road.strip((s, s + 0.08), (road.left, road.right)), scaled(scene.asphalt, 0.62)))
    for _ in range(int(rng.poisson(1.5))):
        x, z = road.at(float(rng.uniform(4, 30)), float(rng.uniform(road.left, road.right)))
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        ring = np.stack([x + 0.33 * np.cos(angles), np.zeros(14), z + 0.33 * np.sin(angles)], axis=1)
        scene.markings.append(Patch(ring, scaled(scene.asphalt, float(rng.uniform(0.5, 0.75)))))
