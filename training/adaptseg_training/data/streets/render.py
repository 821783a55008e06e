"""From a seed to a labelled frame."""

import numpy as np

from adaptseg_training.data.streets.camera import NEAR, Camera
from adaptseg_training.data.streets.canvas import Canvas, Image
from adaptseg_training.data.streets.draw_buildings import draw_building
from adaptseg_training.data.streets.draw_cars import draw_car
from adaptseg_training.data.streets.draw_green import draw_barrier, draw_plant
from adaptseg_training.data.streets.draw_ground import draw_ground
from adaptseg_training.data.streets.draw_heavy import draw_heavy
from adaptseg_training.data.streets.draw_people import draw_person, draw_two_wheeler
from adaptseg_training.data.streets.draw_posts import draw_post
from adaptseg_training.data.streets.draw_sky import draw_backdrop, draw_sky
from adaptseg_training.data.streets.ids import IGNORE, ROAD
from adaptseg_training.data.streets.layout import make_scene
from adaptseg_training.data.streets.lens import expose, mirror_wet, own_headlights
from adaptseg_training.data.streets.light import cast_light
from adaptseg_training.data.streets.looks import LOOK_TABLE, LOOKS
from adaptseg_training.data.streets.roughen import roughen
from adaptseg_training.data.streets.scene import (
    Barrier,
    Building,
    Person,
    Plant,
    Post,
    Scene,
    Thing,
    TwoWheeler,
    View,
)
from adaptseg_training.data.streets.stage import Stage

LEAST_SIDE = 64
"""Of a frame, in pixels."""
_TOO_SMALL = 1.5
"""Things shorter than this (px) are left out."""


def render_street(seed: int, look: str = "day", size: tuple[int, int] = (360, 480)) -> tuple[Image, Image]:
    """A street as a dashboard camera sees it, and its labels.

    seed: 0 or greater; one seed gives one street, whatever the look. look: one of `LOOKS`. size: (height, width) px,
    64 or more each. Returns image (H, W, 3) uint8 RGB and label map (H, W) uint8 Cityscapes train ids,
    `IGNORE_ID` where nothing counts. The same arguments give the same bytes.
    """
    if look not in LOOK_TABLE:
        raise ValueError(f"unknown look {look!r}; there are {', '.join(LOOKS)}")
    if min(size) < LEAST_SIDE:
        raise ValueError(f"size is {size}, (height, width); the least is {(LEAST_SIDE, LEAST_SIDE)}")
    scene = make_scene(seed)
    weather = np.random.default_rng((2, seed, LOOKS.index(look)))
    stage = _stage(scene, look, size, weather)
    texture = np.random.default_rng((3, seed))
    draw_sky(stage, weather)
    draw_backdrop(stage, scene, texture)
    draw_ground(stage, scene, texture)
    for thing in sorted(scene.things, key=lambda t: -_distance(stage.camera, t)):
        _draw(stage, thing)
    _draw_bonnet(stage, scene.view)
    roughen(stage.canvas, texture)
    image, label_map = stage.canvas.image, stage.canvas.label_map
    own_headlights(image, stage.camera.horizon, max(stage.light.look.lamps - 0.75, 0.0) * 4)
    mirror_wet(image, label_map == ROAD, stage.camera.horizon, stage.light.look.wet)
    if scene.mirrored:
        image, label_map = image[:, ::-1].copy(), label_map[:, ::-1].copy()
    return expose(image, stage.light.look, weather), label_map


def _stage(scene: Scene, look: str, size: tuple[int, int], weather: np.random.Generator) -> Stage:
    view, (height, width) = scene.view, size
    camera = Camera(size, view.focal * float(np.sqrt(height * width)), view.horizon * height, view.height, view.yaw)
    canvas = Canvas(np.zeros((height, width, 3), np.uint8), np.full((height, width), IGNORE, np.uint8))
    return Stage(camera, canvas, cast_light(LOOK_TABLE[look], scene.sun_angle, weather))


def _distance(camera: Camera, thing: Thing) -> float:
    """By what things are painted in order, far to near: long things count as far as their far end."""
    match thing:
        case Building(corner=(x, z), front=(dx, dz)):
            return max(camera.depth(x, z), camera.depth(x + dx, z + dz))
        case Barrier(start=a, end=b):
            return max(camera.depth(*a), camera.depth(*b))
        case _:
            return camera.depth(*thing.at)


def _draw(stage: Stage, thing: Thing) -> None:
    if _distance(stage.camera, thing) < NEAR or not _in_view(stage.camera, thing):
        return
    match thing:
        case Building():
            draw_building(stage, thing)
        case Barrier():
            draw_barrier(stage, thing)
        case Plant():
            draw_plant(stage, thing)
        case Person():
            draw_person(stage, thing)
        case TwoWheeler():
            draw_two_wheeler(stage, thing)
        case Post():
            draw_post(stage, thing)
        case _:
            if stage.camera.scale(*thing.at) > _TOO_SMALL:
                (draw_heavy if thing.kind in ("truck", "bus") else draw_car)(stage, thing)


def _in_view(camera: Camera, thing: Thing) -> bool:
    """False for what stands well outside the picture; long things are left to the clipping."""
    if isinstance(thing, Building | Barrier):
        return True
    u, _, depth = camera.homogeneous([(thing.at[0], 0.0, thing.at[1])])[0]
    reach = camera.focal * 0.6 * (thing.width if isinstance(thing, Plant) else 9.0)
    return bool(depth < 6 or -reach < u < camera.size[1] * depth + reach)


def _draw_bonnet(stage: Stage, view: View) -> None:
    """The camera's own car, which no data set scores."""
    if view.bonnet == 0:
        return
    height, width = stage.canvas.label_map.shape
    x = np.linspace(-1, 1, 24)
    edge = height * (1 - view.bonnet * (1 - 0.45 * x * x))
    outline = np.stack([(x + 1) * width / 2, edge], axis=1)
    outline = np.concatenate([outline, [(width + 1.0, height + 1.0), (-1.0, height + 1.0)]])
    stage.canvas.fill(outline, stage.light.shade((52, 50, 54), 0.5), IGNORE)
