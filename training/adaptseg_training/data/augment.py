"""Random changes of a training sample, all drawn from one generator, so that a seed repeats them exactly."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from adaptseg_serve.labels import LabelMap
from adaptseg_training.data.sample import Image

MAX_ZOOM = 2.0
"""The smallest crop is the largest one divided by this."""
ASPECT = 1.15
"""A crop's aspect ratio differs from the training size's by at most this factor."""

Rng = np.random.Generator


def crop(image: Image, label_map: LabelMap | None, size: tuple[int, int], rng: Rng) -> tuple[Image, LabelMap | None]:
    """Crop and flip: (H, W, 3) uint8 RGB of any size -> `size` (height, width); label maps by nearest."""
    box = random_box(image.shape[0], image.shape[1], size, rng)
    flip = bool(rng.random() < 0.5)
    cut = _cut(image, box, size, Pillow.Resampling.BICUBIC, flip)
    return cut, None if label_map is None else _cut(label_map, box, size, Pillow.Resampling.NEAREST, flip)


def random_box(height: int, width: int, size: tuple[int, int], rng: Rng) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a crop with about the aspect ratio of `size`, inside (height, width)."""
    aspect = size[1] / size[0] * ASPECT ** rng.uniform(-1, 1)
    zoom = MAX_ZOOM ** rng.uniform(0, 1)
    crop_height = min(height, width / aspect) / zoom
    crop_width = crop_height * aspect
    left, top = rng.uniform(0, 1) * (width - crop_width), rng.uniform(0, 1) * (height - crop_height)
    return left, top, min(left + crop_width, width), min(top + crop_height, height)


def recolour(image: Image, rng: Rng) -> Image:
    """Brightness, contrast, white balance, gamma, colourfulness, then sometimes shade, blur, noise and JPEG's marks."""
    image = np.asarray(cv2.LUT(image, tone_curves(rng)), np.uint8)
    image = _colourfulness(image, rng.uniform(0.5, 1.4))
    if rng.random() < 0.4:
        image = _shade(image, rng)
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5)), np.uint8)
    if rng.random() < 0.3:
        image = _noise(image, rng.uniform(2, 10), rng)
    if rng.random() < 0.3:
        image = _jpeg(image, int(rng.integers(30, 90)))
    return image


def tone_curves(rng: Rng) -> NDArray[np.uint8]:
    """(1, 256, 3) uint8 for cv2.LUT: a common gain, gamma and offset, and a small gain of each channel's own."""
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.92, 1.08, 3)
    gamma = 1.5 ** rng.uniform(-1, 1)
    offset = rng.uniform(-25, 25)
    level = (np.arange(256)[:, None] / 255.0) ** gamma * 255.0
    curves = np.clip((level - 128) * gain + 128 + offset, 0, 255)
    return np.asarray(curves, np.uint8).reshape(1, 256, 3)


def _colourfulness(image: Image, factor: float) -> Image:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, factor, grey, 1 - factor, 0), np.uint8)


def _shade(image: Image, rng: Rng) -> Image:
    """Some parts of the picture lie in shade: a smooth field of gains, 0.35 to 1.1."""
    field = cv2.resize(rng.uniform(0.35, 1.1, (3, 4)), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.minimum(image * field[..., None], 255), np.uint8)


def _jpeg(image: Image, quality: int) -> Image:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _noise(image: Image, sigma: float, rng: Rng) -> Image:
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _cut(
    pixels: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    resample: Pillow.Resampling,
    flip: bool,
) -> NDArray[np.uint8]:
    cut = np.asarray(Pillow.fromarray(pixels).resize((size[1], size[0]), resample, box=box))
    return np.ascontiguousarray(cut[:, ::-1] if flip else cut)
