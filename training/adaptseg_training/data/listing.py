"""The files of a data set: which there should be, by its layout, and a torch Dataset of those that are listed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LabelIds
from adaptseg_serve.preprocess import resize_label_map
from adaptseg_training.data.sample import IMAGE_SUFFIXES, Sample, only_images, read_image, read_label_ids
from adaptseg_training.errors import DataError

ReadIds = Callable[[Path], NDArray[np.uint8]]
"""Label file -> (H, W) uint8 label ids; DataError names a file that can't be read."""


def _as_numbers(path: Path, ids: Sequence[int]) -> list[str]:
    return [str(i) for i in ids]


@dataclass(frozen=True)
class Labels:
    """The label files of a data set, beside the images of its `Listing`."""

    paths: tuple[Path, ...]
    """Where the layout wants each image's labels, in the order of the images."""
    present: frozenset[Path]
    """The label files that there are."""
    ids: LabelIds
    """What their numbers mean."""
    read_ids: ReadIds = read_label_ids
    stretched: bool = False
    """The official files themselves hold labels of other sizes than their images: stretch them (nearest)."""
    describe: Callable[[Path, Sequence[int]], list[str]] = _as_numbers
    """Label ids of a file, as people know them."""


@dataclass(frozen=True)
class Listing:
    """The files of a data set, by name; not one of them has been opened."""

    images: tuple[Path, ...]
    labels: Labels | None = None
    """None: no labels."""


class ListedImages(Dataset[Sample]):
    """The images of a listing. ConfigError, when made, for images without their label file."""

    def __init__(self, listing: Listing) -> None:
        if listing.labels is not None:
            _check_pairs(listing.images, listing.labels)
            self._to_train_ids = listing.labels.ids.to_train_ids()
        self.label_set = None if listing.labels is None else listing.labels.ids.label_set
        self._listing = listing

    def __len__(self) -> int:
        return len(self._listing.images)

    def __getitem__(self, index: int) -> Sample:
        path, labels = self._listing.images[index], self._listing.labels
        image = read_image(path)
        if labels is None:
            return Sample(str(path), image)
        ids = _fitting(labels.read_ids(labels.paths[index]), image.shape[:2], labels, index)
        return Sample(str(path), image, np.asarray(cv2.LUT(ids, self._to_train_ids), np.uint8))


def _fitting(ids: NDArray[np.uint8], size: tuple[int, ...], labels: Labels, index: int) -> NDArray[np.uint8]:
    if ids.shape == size:
        return ids
    if labels.stretched:
        return resize_label_map(ids, (size[0], size[1]))
    raise DataError(f"{labels.paths[index]} is {ids.shape}, its image {size} (height, width).")


def _check_pairs(images: tuple[Path, ...], labels: Labels) -> None:
    missing = [n for n, path in enumerate(labels.paths) if path not in labels.present]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(images)} images have no label map; the first is {images[missing[0]]}, "
            f"which needs {labels.paths[missing[0]]}. adaptseg-data check lists them all."
        )


def image_files(folder: Path, layout: str = "") -> list[Path]:
    """Images of a folder, by name. ConfigError, with the `layout` that was expected, where there is none."""
    hint = f" {layout}" if layout else ""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}.{hint}")
    files = sorted(only_images(folder.iterdir()))
    if not files:
        raise ConfigError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).{hint}")
    return files


def beside(
    images: Iterable[Path],
    folder: Path,
    ids: LabelIds,
    name: Callable[[Path], str] = lambda image: f"{image.stem}.png",
    read_ids: ReadIds = read_label_ids,
    stretched: bool = False,
) -> Labels:
    """Labels that lie in one folder, each named after its image."""
    present = frozenset(only_images(folder.iterdir())) if folder.is_dir() else frozenset()
    return Labels(tuple(folder / name(image) for image in images), present, ids, read_ids, stretched)
