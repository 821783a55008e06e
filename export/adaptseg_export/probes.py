"""What the graph is compared on: noise at odd shapes, rendered streets, and the user's own images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.data.streets import LOOKS, render_street

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MAX_IMAGES = 16
ODD_SHAPES = ((1, 65, 129), (2, 97, 131), (3, 128, 64))
"""(N, H, W): one cell more than a stride, primes, and a batch no example was traced with."""


def probes(spec: PreprocessSpec, paths: Sequence[Path] = ()) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(name, (N, H, W, 3) uint8 RGB) batches; images among or inside `paths` come resized to `spec.size`."""
    noise = np.random.default_rng(0)
    for shape in ODD_SHAPES:
        yield "noise", noise.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for look in LOOKS:
        frames = [spec.resize_image(render_street(seed, look, _drawable(spec.size))[0]) for seed in range(2)]
        yield f"street, {look}", np.stack(frames)
    for path in image_files(paths):
        yield path.name, spec.resize_image(_read(path))[None]


def street(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(N, H, W, 3) uint8 RGB: rendered streets, N of them."""
    count, *size = shape
    spec = PreprocessSpec((size[0], size[1]))
    frames = [render_street(seed, LOOKS[seed % len(LOOKS)], _drawable(spec.size))[0] for seed in range(count)]
    return np.stack([spec.resize_image(frame) for frame in frames])


def _drawable(size: tuple[int, int]) -> tuple[int, int]:
    """The least size that a street is drawn at is 64 x 64."""
    return max(64, size[0]), max(64, size[1])


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Image files among `paths` and in the folders among them, evenly thinned to MAX_IMAGES."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"--images: {path} does not exist.")
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES]
    if paths and not found:
        raise ConfigError(f"--images: no {', '.join(sorted(IMAGE_SUFFIXES))} file among {', '.join(map(str, paths))}.")
    return found[:: max(1, -(-len(found) // MAX_IMAGES))]


def _read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ConfigError(f"--images: {path} can't be decoded as an image.")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
