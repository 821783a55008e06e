"""One image of a data set, its label map where it has one, which files are images, and how both are read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap
from adaptseg_training.errors import DataError

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, 0..255."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})


@dataclass(frozen=True)
class Sample:
    """An image at its own size and, for labelled data, its label map in the data set's train ids."""

    name: str
    """What errors and pictures call it: the file's path, the video's path and frame, the renderer's seed."""
    image: Image
    label_map: LabelMap | None = None


class ImageSet(Protocol):
    """What every data set here is: a torch Dataset of `Sample`s that knows its label set."""

    label_set: str | None
    """A name that `find_label_set` knows, None without labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def only_images(paths: Iterable[Path]) -> list[Path]:
    """Those whose names end as images' do; hidden files (`._a.png`, left by macOS) are none."""
    return [p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 RGB. DataError names a file that can't be read."""
    return np.asarray(cv2.cvtColor(read_pixels(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_pixels(path: Path, flags: int) -> NDArray[Any]:
    """What OpenCV decodes with `flags` (an IMREAD_*), channels in its order: blue, green, red. DataError if nothing."""
    decoded = cv2.imdecode(_read_bytes(path), flags)
    if decoded is None:
        raise DataError(f"{path} is not a readable image. Delete or replace it.")
    return np.asarray(decoded)


def read_label_ids(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 label ids of a grey or palette PNG. DataError names a file that is none."""
    from PIL import Image as Pillow  # cv2 expands palettes to colours

    try:
        with Pillow.open(path) as picture:
            ids = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not a readable label image ({error}). Delete or replace it.") from error
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise DataError(f"{path} holds {ids.dtype} of shape {ids.shape}; a label image is 8-bit with one channel.")
    return np.ascontiguousarray(ids)


def _read_bytes(path: Path) -> NDArray[np.uint8]:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.") from error
    if data.size == 0:
        raise DataError(f"{path} is empty. Delete or replace it.")
    return data
