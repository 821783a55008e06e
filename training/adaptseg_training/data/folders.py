"""Labelled folders: images/NAME.jpg beside labels/NAME.png, label ids mapped to train ids by lookup table."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LABEL_SETS
from adaptseg_training.data.sample import IMAGE_SUFFIXES, Sample, read_image, read_label_ids
from adaptseg_training.errors import DataError

CAMVID_SPLITS = ("train", "val", "test", "day", "dusk")
_DAY, _DUSK = ("0006R0_", "0016E5_"), ("0001TP_",)


class LabelledFolder(Dataset[Sample]):
    """Pairs of one folder, in the order of their names."""

    def __init__(self, folder: Path, label_set: str, keep: Callable[[str], bool] = lambda name: True) -> None:
        self.label_set: str | None = label_set
        self._to_train_ids = LABEL_SETS[label_set].to_train_ids()
        self._labels = folder / "labels"
        self._images = [p for p in image_files(folder / "images") if keep(p.name)]
        _check_pairs(self._images, self._labels)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        path = self._images[index]
        image, ids = read_image(path), read_label_ids(self._label_path(path))
        if ids.shape != image.shape[:2]:
            raise DataError(f"{self._label_path(path)} is {ids.shape}, its image {image.shape[:2]} (height, width).")
        return Sample(str(path), image, np.asarray(cv2.LUT(ids, self._to_train_ids), np.uint8))

    def _label_path(self, image: Path) -> Path:
        return self._labels / f"{image.stem}.png"


def camvid(root: Path, split: str) -> LabelledFolder:
    """CamVid in the 11 classes of SegNet. day and dusk are parts of train, by sequence."""
    match split or "train":
        case "day":
            return LabelledFolder(root / "train", "camvid", lambda name: name.startswith(_DAY))
        case "dusk":
            return LabelledFolder(root / "train", "camvid", lambda name: name.startswith(_DUSK))
        case "train" | "val" | "test" as folder:
            return LabelledFolder(root / folder, "camvid")
        case other:
            raise ConfigError(f"camvid has no split {other!r}; it has {', '.join(CAMVID_SPLITS)}.")


def synthetic_streets(root: Path) -> LabelledFolder:
    """800 rendered frames over CARLA layouts, in CamVid's 11 classes."""
    return LabelledFolder(root, "camvid")


def image_files(folder: Path) -> list[Path]:
    """Images of a folder by name. ConfigError where there is no folder or no image."""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}.")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ConfigError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return files


def _check_pairs(images: Sequence[Path], labels: Path) -> None:
    missing = [p for p in images if not (labels / f"{p.stem}.png").is_file()]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(images)} images have no label map; the first is {missing[0]}, "
            f"which needs {labels / f'{missing[0].stem}.png'}."
        )
