"""What the graph is compared on: noise at odd shapes, rendered streets, and the user's own images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.data.sample import IMAGE_SUFFIXES, only_images, read_image
from adaptseg_training.data.streets import LEAST_SIDE, LOOKS, render_street

MAX_IMAGES = 16
ODD_SHAPES = ((1, 65, 129), (2, 97, 131), (3, 128, 64))
"""(N, H, W): one cell more than a stride, primes, and a batch no example was traced with."""


def probes(spec: PreprocessSpec, paths: Sequence[Path] = ()) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(name, (N, H, W, 3) uint8 RGB) batches; images among or inside `paths` come resized to `spec.size`."""
    noise = np.random.default_rng(0)
    for shape in ODD_SHAPES:
        yield "noise", noise.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for look in LOOKS:
        yield f"street, {look}", np.stack([drawn(spec, seed, look) for seed in range(2)])
    for path in image_files(paths):
        yield path.name, spec.resize_image(read_image(path))[None]


def street(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(N, H, W, 3) uint8 RGB: rendered streets, N of them."""
    count, *size = shape
    spec = PreprocessSpec((size[0], size[1]))
    return np.stack([drawn(spec, seed, LOOKS[seed % len(LOOKS)]) for seed in range(count)])


def drawn(spec: PreprocessSpec, seed: int, look: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of `spec`'s size: a rendered street; a small one is drawn larger and shrunk."""
    height, width = spec.size
    return spec.resize_image(render_street(seed, look, (max(LEAST_SIDE, height), max(LEAST_SIDE, width)))[0])


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Image files among `paths` and in the folders among them, evenly thinned to MAX_IMAGES."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"--images: {path} does not exist.")
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += only_images(inside)
    if paths and not found:
        raise ConfigError(f"--images: no {', '.join(sorted(IMAGE_SUFFIXES))} file among {', '.join(map(str, paths))}.")
    return found[:: max(1, -(-len(found) // MAX_IMAGES))]
