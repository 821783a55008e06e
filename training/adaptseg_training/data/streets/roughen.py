"""Unevenness of what is drawn in flat colours: folds in clothes, mirrored clutter in car paint, dirt on walls."""

import cv2
import numpy as np

from adaptseg_training.data.streets import ids
from adaptseg_training.data.streets.canvas import Canvas
from adaptseg_training.data.streets.noise import crop, fractal_tile

_AMOUNT = {
    ids.BUILDING: 0.035,
    ids.WALL: 0.06,
    ids.FENCE: 0.1,
    ids.POLE: 0.1,
    ids.TRAFFIC_SIGN: 0.07,
    ids.TRAFFIC_LIGHT: 0.08,
    ids.VEGETATION: 0.15,
    ids.PERSON: 0.15,
    ids.RIDER: 0.15,
    ids.CAR: 0.06,
    ids.TRUCK: 0.04,
    ids.BUS: 0.05,
    ids.MOTORCYCLE: 0.25,
    ids.BICYCLE: 0.2,
    ids.ROAD: 0.035,
    ids.SIDEWALK: 0.05,
    ids.TERRAIN: 0.1,
    ids.IGNORE: 0.05,
}


def roughen(canvas: Canvas, rng: np.random.Generator) -> None:
    """Multiply the image by noise, class by class as strong; in place. The grain grows with the picture."""
    height, width = canvas.label_map.shape
    table = np.zeros(256, np.float32)
    for train_id, amount in _AMOUNT.items():
        table[train_id] = 128 * amount
    zoom = max(round(height / 360), 1)
    noise = crop(fractal_tile(90, coarsest=16, falloff=0.85), rng, -(-height // zoom), -(-width // zoom))
    if zoom > 1:
        noise = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    factor = cv2.multiply(cv2.LUT(canvas.label_map, table), noise)
    grey = cv2.convertScaleAbs(factor, alpha=1.0, beta=128.0)
    canvas.image[:] = cv2.multiply(canvas.image, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), scale=1 / 128)
