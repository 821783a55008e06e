"""What the camera does to the light: glare, blur, vignette, wet mirror, noise, saturation, compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_training.data.streets.canvas import Image, scalar
from adaptseg_training.data.streets.looks import Look
from adaptseg_training.data.streets.noise import grain_bank


def expose(image: Image, look: Look, rng: np.random.Generator) -> Image:
    """(H, W, 3) uint8 RGB scene -> (H, W, 3) uint8 RGB picture. `rng` is the look's own."""
    spread = _spill(image, look.glow * float(rng.uniform(0.4, 1.6)))
    soft = _focus(spread, rng)
    grey = cv2.cvtColor(cv2.cvtColor(soft, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    vivid = float(np.clip(look.saturation * rng.uniform(0.75, 1.25), 0, 1.2))
    mixed = np.asarray(cv2.addWeighted(soft, vivid, grey, 1 - vivid, 0.0), np.uint8)
    curved = np.asarray(cv2.LUT(mixed, _curve(rng)), np.uint8)
    noisy = _grain(_vignette(curved, rng), look.grain * float(rng.uniform(0.5, 1.6)), rng)
    return _compress(noisy, rng) if rng.random() < 0.6 else noisy


def _spill(image: Image, strength: float) -> Image:
    """Bright areas shine over their edges, as in a cheap lens."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // 6, 2), max(height // 6, 2)), interpolation=cv2.INTER_AREA)
    bright = cv2.subtract(small, scalar((110, 110, 110)))
    halo = cv2.resize(cv2.GaussianBlur(bright, (0, 0), max(width / 160, 0.8)), (width, height))
    return np.asarray(cv2.addWeighted(image, 1.0, halo, strength * 1.5, 0.0), np.uint8)


def _focus(image: Image, rng: np.random.Generator) -> Image:
    """Softer than drawn, or sharpened beyond it, as cameras and rescaling do."""
    sharpen = float(rng.uniform(-0.7, 1.3))
    blurred = cv2.GaussianBlur(image, (0, 0), 0.9 * max(image.shape[1] / 480, 0.5))
    return np.asarray(cv2.addWeighted(image, 1 + sharpen, blurred, -sharpen, 0.0), np.uint8)


def _curve(rng: np.random.Generator) -> Image:
    """(256,) uint8 tone curve: a lift of the blacks, a gamma, some contrast."""
    x = np.linspace(0, 1, 256)
    y = x ** float(np.exp(rng.normal(0.0, 0.12)))
    s = float(rng.uniform(0.0, 0.8))
    y = (1 - s) * y + s * (y * y * (3 - 2 * y))
    black = float(rng.uniform(0.0, 0.05))
    return np.asarray(np.clip((black + (1 - black) * y) * 255, 0, 255), np.uint8)


def _vignette(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    k = float(rng.uniform(0.0, 0.12))
    across = 1 - k * np.linspace(-1, 1, width, dtype=np.float32) ** 2
    down = 1 - k * np.linspace(-1, 1, height, dtype=np.float32) ** 2
    shade = (down[:, None] * across[None] * 255).astype(np.uint8)
    return np.asarray(cv2.multiply(image, cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB), scale=1 / 255), np.uint8)


def _grain(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    bank = grain_bank()
    height, width = image.shape[:2]
    rows = (np.arange(height) + int(rng.integers(len(bank)))) % len(bank)
    columns = (np.arange(width) + int(rng.integers(len(bank)))) % len(bank)
    noise = np.take(np.take(bank, rows, axis=0), columns, axis=1)
    scaled = cv2.multiply(noise, scalar((sigma / 16,) * 3))
    return np.asarray(cv2.add(image, scaled, dtype=cv2.CV_8U), np.uint8)


def _compress(image: Image, rng: np.random.Generator) -> Image:
    quality = int(rng.integers(55, 96))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def own_headlights(image: Image, horizon: float, strength: float) -> None:
    """Brighten the road ahead, most just below the horizon, as the camera car's own lamps do; in place."""
    if strength == 0:
        return
    height, width = image.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = (np.arange(height, dtype=np.float32)[:, None] - horizon) / height
    beam = np.exp(-4 * x * x) * np.exp(-((y - 0.1) ** 2) / 0.018)
    gain = np.asarray(np.clip(64 * (1 + 2.5 * strength * beam), 0, 255), np.uint8)
    image[:] = cv2.multiply(image, cv2.cvtColor(gain, cv2.COLOR_GRAY2RGB), scale=1 / 64)


def mirror_wet(image: Image, road: NDArray[np.bool_], horizon: float, wet: float) -> None:
    """Blend into the road what lies above the horizon, upside down and smeared, `wet` (0..1) strong; in place."""
    if wet == 0:
        return
    first = int(np.clip(np.ceil(horizon), 1, len(image) - 1))
    rows = np.clip(2 * first - np.arange(first, len(image)), 0, first - 1)
    seen = cv2.blur(image[rows], (3, 15))
    blended = np.asarray(cv2.addWeighted(image[first:], 1 - 0.4 * wet, seen, 0.4 * wet, 0.0), np.uint8)
    cv2.copyTo(blended, road[first:].astype(np.uint8), image[first:])
