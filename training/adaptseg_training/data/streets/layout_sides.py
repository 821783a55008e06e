"""What lines the road: pavements, plots with buildings, gardens, trees and fences, and the side streets between."""

from typing import Literal

import numpy as np

from adaptseg_training.data.streets.layout_plots import build_plot, lay_ground
from adaptseg_training.data.streets.layout_posts import furnish
from adaptseg_training.data.streets.palette import scaled
from adaptseg_training.data.streets.plan import Kind, Plan, Side
from adaptseg_training.data.streets.scene import Barrier, Patch, Scene

PlotKind = Literal["terrace", "block", "houses", "park", "lot"]

_PLOTS: dict[Kind, tuple[tuple[PlotKind, ...], tuple[float, ...]]] = {
    "town": (("terrace", "block", "houses", "park", "lot"), (0.64, 0.16, 0.03, 0.15, 0.02)),
    "suburb": (("terrace", "block", "houses", "park", "lot"), (0.30, 0.12, 0.40, 0.15, 0.03)),
    "open": (("terrace", "block", "houses", "park", "lot"), (0.25, 0.3, 0.1, 0.2, 0.15)),
    "park": (("terrace", "block", "houses", "park", "lot"), (0.05, 0.05, 0.1, 0.78, 0.02)),
    "highway": (("park",), (1.0,)),
}


def line_side(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    """Plots from just behind the camera to the street's end, a gap where a street crosses, then the pavement."""
    s = float(rng.uniform(-12, -3))
    kinds, shares = _PLOTS[plan.kind]
    wide = 6.0 if plan.kind == "open" else 0.0
    while s < plan.far:
        length = float(rng.uniform(18, 60))
        kind = kinds[int(rng.choice(len(kinds), p=shares))]
        end = s + length
        if plan.junction is not None and s < plan.junction + plan.crossing and end > plan.junction:
            end = plan.junction
            if end - s > 3:
                _plot(scene, plan, side, kind, (s, end), rng)
            lay_ground(scene, plan, side, (plan.junction, plan.junction + plan.crossing), side.kerb, "road")
            s = plan.junction + plan.crossing
            continue
        _plot(scene, plan, side, kind, (s, end), rng)
        s = end + float(rng.choice([0.0, rng.uniform(2, 6 + wide)], p=[0.75, 0.25]))
    if plan.kind == "highway":
        _verge(scene, plan, side, rng)
        return
    furnish(scene, plan, side, rng)


def _plot(
    scene: Scene, plan: Plan, side: Side, kind: PlotKind, span: tuple[float, float], rng: np.random.Generator
) -> None:
    build_plot(scene, plan, side, kind, span, rng)
    if side.walk > 0:
        inner = side.kerb
        if rng.random() < (0.3 if plan.kind in ("suburb", "park", "open") else 0.05):
            inner = side.kerb + 0.4 * side.walk
            lay_ground(scene, plan, side, span, side.kerb, "terrain", side.walk * 0.4)
        lay_ground(scene, plan, side, span, inner, "sidewalk", side.edge - inner)
        kerb = scaled(scene.paving, float(rng.uniform(0.85, 1.4)))
        d = sorted((side.hand * side.kerb, side.hand * (side.kerb + 0.16)))
        scene.patches.append(Patch(plan.road.strip((span[0], span[1]), (d[0], d[1])), kerb, "sidewalk"))
        _gutter(scene, plan, side, span, rng)


def _gutter(scene: Scene, plan: Plan, side: Side, span: tuple[float, float], rng: np.random.Generator) -> None:
    """The kerb's shaded face and the dirt at its foot: all that parts an asphalt pavement from the road."""
    width, dark = float(rng.uniform(0.06, 0.2)), float(rng.uniform(0.5, 0.95))
    d = sorted((side.hand * (side.kerb - width), side.hand * side.kerb))
    end = min(span[1], plan.far)  # a plot may reach into the street that closes this one
    scene.markings.append(Patch(plan.road.strip((span[0], end), (d[0], d[1])), scaled(scene.asphalt, dark)))


def _verge(scene: Scene, plan: Plan, side: Side, rng: np.random.Generator) -> None:
    """A highway's edge: rail or concrete wall, grass, and perhaps the other carriageway beyond."""
    style = rng.choice(["guardrail", "wall", "none"], p=[0.5, 0.25, 0.25])
    offset = side.kerb + float(rng.uniform(0.3, 1.2))
    if style != "none":
        height = float(rng.uniform(0.7, 0.85) if style == "guardrail" else rng.uniform(0.8, 1.1))
        color = (168, 170, 172) if style == "guardrail" else (160, 156, 148)
        start = float(rng.choice([1.0, rng.uniform(5, 40)]))
        for s in np.geomspace(max(start, 1.0), 170, 26):
            step = 0.25 * float(s) + 0.5
            a, b = (
                plan.road.at(float(s), side.hand * offset),
                plan.road.at(float(s) + step, side.hand * offset),
            )
            scene.things.append(Barrier(a, b, height, "guardrail" if style == "guardrail" else "wall", color))
    if side.hand < 0 and rng.random() < 0.7:
        lay_ground(scene, plan, side, (-3, 300), side.kerb + 4, "road", 12)
