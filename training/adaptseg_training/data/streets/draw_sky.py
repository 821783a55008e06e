"""Sky and what closes the view at the horizon."""

import cv2
import numpy as np

from adaptseg_training.data.streets.canvas import Color
from adaptseg_training.data.streets.ids import BUILDING, SKY, VEGETATION
from adaptseg_training.data.streets.noise import fractal_tile
from adaptseg_training.data.streets.scene import Scene
from adaptseg_training.data.streets.stage import Stage


def draw_sky(stage: Stage, rng: np.random.Generator) -> None:
    """Gradient and clouds above the horizon, or white where the camera is dazzled. `rng` is the look's own."""
    look, image = stage.light.look, stage.canvas.image
    height, width = stage.canvas.label_map.shape
    rows = int(np.clip(stage.camera.horizon + 2, 1, height))
    coarse = (max(rows // 2, 1), max(width // 2, 1))  # nothing in the sky is sharp
    rise = (np.linspace(1, 0, coarse[0], dtype=np.float32) * min(rows / (0.75 * height), 1.0))[:, None, None] ** 0.8
    zenith, skyline = (np.asarray(c, np.float32) for c in (look.zenith, look.skyline))
    sky = np.broadcast_to(
        skyline + (zenith - skyline) * np.clip(rise * float(rng.uniform(0.8, 1.6)), 0, 1), (*coarse, 3)
    )
    cover = _clouds(*coarse, rng)[:, :, None] * look.clouds * float(rng.uniform(0.2, 1.2))
    bright = np.maximum(skyline, 0.85 * skyline.max())
    sky = sky + (bright - sky) * np.clip(cover, -0.6, 0.9)
    sky = sky + (250 - sky) * float(rng.uniform(0.0, 0.75)) * (skyline.max() > 220)  # by day most cameras see it pale
    white = rng.random() < look.white_sky
    sky = sky * (max(stage.light.exposure, 0.9) * np.asarray(stage.light.tint, np.float32))
    if white:
        sky = 255 - (255 - sky) * float(rng.uniform(0.0, 0.1))
    image[:rows] = cv2.resize(np.clip(sky, 0, 255).astype(np.uint8), (width, rows), interpolation=cv2.INTER_LINEAR)
    stage.canvas.label_map[:rows] = SKY


def _clouds(rows: int, width: int, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(rows, width) float32, about -1..1; flatter towards the horizon, as a layer overhead looks."""
    tile = fractal_tile(int(rng.integers(40, 46)), coarsest=4, falloff=0.55)
    high = 1.0 / (np.linspace(1.0, 0.15, rows, dtype=np.float32)[:, None] + 0.15)
    x = (np.arange(width, dtype=np.float32)[None] / width - 0.5) * high * 120 + float(rng.uniform(0, 256))
    y = np.broadcast_to(high * 60 + float(rng.uniform(0, 256)), (rows, width))
    clouds = cv2.remap(tile, np.mod(x, 255).astype(np.float32), np.mod(y, 255).astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(np.tanh(clouds), np.float32)


def draw_backdrop(stage: Stage, scene: Scene, rng: np.random.Generator) -> None:
    """Distant woods, hills or roofs along the horizon."""
    width, base = stage.canvas.label_map.shape[1], stage.camera.horizon + 1
    unit = stage.camera.focal / 100
    if scene.backdrop == "hills":
        _ridge(stage, base, unit * float(rng.uniform(3, 10)), 0.25, (86, 96, 92), 300, rng)
    if scene.backdrop == "skyline" and rng.random() < 0.8:
        x = 0.0
        while x < width:
            step, tall = unit * float(rng.uniform(3, 14)), unit * float(rng.uniform(2, 9))
            color = stage.light.shade((118, 108, 100), float(rng.uniform(0.1, 0.6)), 150)
            stage.canvas.fill(
                np.array([(x, base), (x, base - tall), (x + step, base - tall), (x + step, base)]),
                color,
                BUILDING,
            )
            x += step * float(rng.uniform(0.7, 1.6))
    _ridge(stage, base, unit * float(rng.uniform(1.5, 8)), 1.0, (74, 82, 58), 130, rng)


def _ridge(
    stage: Stage,
    base: float,
    tall: float,
    rough: float,
    color: Color,
    distance: float,
    rng: np.random.Generator,
) -> None:
    """A treetop line or a hill's outline across the whole picture."""
    width = stage.canvas.label_map.shape[1]
    tile = fractal_tile(50, coarsest=4, falloff=0.3 + 0.4 * rough)
    line = tile[int(rng.integers(256)), (np.arange(0, 121) * 2 + int(rng.integers(256))) % 256]
    y = base - tall * np.clip(0.7 + 0.4 * line, 0.05, 2)
    x = np.linspace(-1, width + 1, len(line))
    outline = np.concatenate([np.stack([x, y], 1), [(width + 1.0, base + 2), (-1.0, base + 2)]])
    stage.canvas.fill(outline, stage.light.shade(color, 0.3, distance), VEGETATION)
