"""Makes up a street: the view, the road, what lines it and who is on it. Canonically traffic keeps right."""

import numpy as np

from adaptseg_training.data.streets.layout_plots import close_street
from adaptseg_training.data.streets.layout_road import mark_crossing, mark_lanes, scatter_repairs
from adaptseg_training.data.streets.layout_shade import cast_shadows
from adaptseg_training.data.streets.layout_sides import line_side
from adaptseg_training.data.streets.layout_traffic import fill_road
from adaptseg_training.data.streets.palette import pave, scaled
from adaptseg_training.data.streets.plan import KINDS, Kind, Plan, Side
from adaptseg_training.data.streets.scene import Patch, Road, Scene, View

KIND_SHARES = {"town": 0.57, "suburb": 0.20, "open": 0.10, "park": 0.06, "highway": 0.07}


def make_scene(seed: int) -> Scene:
    """The same seed always gives the same scene."""
    rng = np.random.default_rng((1, seed))
    kind = KINDS[int(rng.choice(len(KINDS), p=[KIND_SHARES[k] for k in KINDS]))]
    plan = _plan(kind, rng)
    asphalt = scaled((82, 85, 91), float(np.exp(rng.normal(0.0, 0.14))))
    scene = Scene(
        view=_view(kind, plan.junction, rng),
        road=plan.road,
        sun_angle=float(rng.uniform(-np.pi, np.pi)),
        mirrored=bool(rng.random() < 0.6),
        backdrop="hills"
        if kind == "highway" and rng.random() < 0.6
        else ("woods" if rng.random() < 0.5 else "skyline"),
        asphalt=asphalt,
        paving=pave(asphalt, rng),
        grass=scaled((84, 100, 46) if rng.random() < 0.75 else (150, 132, 88), float(np.exp(rng.normal(0.0, 0.12)))),
    )
    for side in (plan.left, plan.right):
        line_side(scene, plan, side, rng)
    if plan.closed:
        close_street(scene, plan, rng)
    road_ends = (-3.0, 400.0 if kind == "highway" else plan.far)
    scene.patches.append(Patch(plan.road.strip(road_ends, (plan.road.left, plan.road.right)), scene.asphalt, "road"))
    scatter_repairs(scene, plan, rng)
    mark_lanes(scene, plan, rng)
    mark_crossing(scene, plan, rng)
    fill_road(scene, plan, rng)
    cast_shadows(scene, plan, rng)
    return scene


def _view(kind: str, junction: float | None, rng: np.random.Generator) -> View:
    turning = (kind == "open" and rng.random() < 0.5) or (junction is not None and rng.random() < 0.2)
    return View(
        focal=float(rng.uniform(0.95, 1.35)),
        horizon=float(rng.uniform(0.52, 0.66) if rng.random() < 0.15 else np.clip(rng.normal(0.505, 0.04), 0.38, 0.62)),
        height=float(rng.uniform(1.15, 1.75)),
        yaw=float(rng.normal(0.0, 0.22 if turning else 0.07)),
        bonnet=float(rng.uniform(0.02, 0.11)) if rng.random() < 0.2 else 0.0,
    )


def _plan(kind: Kind, rng: np.random.Generator) -> Plan:
    lane = float(rng.uniform(3.4, 3.8) if kind == "highway" else rng.uniform(2.4, 3.3))
    oncoming = 0 if kind == "highway" else int(rng.choice([0, 1, 2], p=[0.2, 0.72, 0.08]))
    same = int(rng.integers(2, 5)) if kind == "highway" else int(rng.choice([1, 2, 3], p=[0.8, 0.16, 0.04]))
    own = int(rng.integers(same))
    extra = [float(rng.uniform(1.9, 2.4)) if rng.random() < 0.25 else float(rng.uniform(0.1, 0.7)) for _ in range(2)]
    if kind == "highway":
        extra = [float(rng.uniform(0.6, 1.5)), float(rng.uniform(2.0, 3.2))]
    drift = float(rng.normal(0.0, 0.6))
    left = -lane * (0.5 + own + oncoming) - extra[0] + drift
    right = lane * (same - own - 0.5) + extra[1] + drift
    bent = rng.random() < 0.5
    curve = float(rng.normal(0.0, 1 / 900 if kind == "highway" else 1 / 260)) if bent else 0.0
    road = Road(curve, left, right)
    closed = kind != "highway" and rng.random() < 0.2
    junction = float(rng.uniform(9, 55)) if kind != "highway" and not closed and rng.random() < 0.45 else None
    walk = [0.0, 0.0] if kind == "highway" else [_walk(kind, rng) for _ in range(2)]
    return Plan(
        kind,
        road,
        lane,
        oncoming,
        same,
        own,
        drift,
        Side(-1, abs(left), walk[0], extra[0] > 1.7 and kind != "highway"),
        Side(1, abs(right), walk[1], extra[1] > 1.7 and kind != "highway"),
        junction,
        float(rng.uniform(7, 13)),
        float(rng.uniform(22, 75) if closed else rng.uniform(110, 190)),
        closed,
    )


def _walk(kind: Kind, rng: np.random.Generator) -> float:
    """A pavement's width: many towns have narrow ones."""
    return float(rng.uniform(1.4, 3.0) if kind == "town" and rng.random() < 0.3 else rng.uniform(2.4, 8.0))
