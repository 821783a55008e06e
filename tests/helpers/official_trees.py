"""Tiny data sets in the official layouts, with the official file formats; content is made up, the truth is known.

`write_gta5(root)` and its siblings write a few frames; `truth(number)` is the Cityscapes label map that all of
them encode for frame `number`, each in its own label ids, so that a loader can be held against it. Layouts and
formats are described where they are read: adaptseg_training/data/{gta5,synthia,synscapes,cityscapes,cross_city}.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image as Pillow

SIZE = (96, 160)

# Written out here a second time, from the data sets' own documents, so that the tables in labels.py are tested.
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
SYNTHIA_LABEL_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)
SYNTHIA_LACKS = (9, 14, 16)
"""Terrain, truck and train: SYNTHIA-RAND-CITYSCAPES has a number for each and no pixel."""
CROSS_CITY_TRAIN_IDS = (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
IGNORED = 255


def truth(number: int, size: tuple[int, int] = SIZE, without: Sequence[int] = ()) -> NDArray[np.uint8]:
    """(H, W) uint8 Cityscapes train ids of frame `number`: a 4 x 5 board of all 19 classes and one ignored field."""
    board = np.roll(np.array([*range(19), IGNORED], np.uint8), number).reshape(4, 5)
    rows, columns = np.arange(size[0]) * 4 // size[0], np.arange(size[1]) * 5 // size[1]
    label_map = board[rows[:, None], columns[None]]
    label_map[np.isin(label_map, without)] = IGNORED
    return label_map


def image_of(label_map: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: a grey of its own for each class, under noise."""
    noise = np.random.default_rng(number).integers(0, 40, (*label_map.shape, 3), dtype=np.uint8)
    return (label_map % 20 * 10)[..., None] + noise


def write_gta5(root: Path, frames: int = 3, size: tuple[int, int] = SIZE) -> None:
    """images/00001.png, labels/00001.png (palette PNG of Cityscapes label ids), split.mat (MATLAB 5)."""
    for number in range(1, frames + 1):
        label_map = truth(number, size)
        _write_rgb(root / f"images/{number:05d}.png", image_of(label_map, number))
        picture = Pillow.fromarray(_encode(label_map, CITYSCAPES_LABEL_IDS), mode="P")
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
        path = root / f"labels/{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    ids = np.arange(1, frames + 1, dtype=np.uint16)[:, None]
    scipy.io.savemat(root / "split.mat", {"trainIds": ids[:-1], "valIds": ids[-1:], "testIds": ids[:0]})


def write_synthia(root: Path, frames: int = 3, size: tuple[int, int] = SIZE) -> None:
    """RGB/0000000.png, GT/LABELS/0000000.png: 16-bit RGB PNG, the class in R, an instance number in G."""
    for number in range(frames):
        label_map = truth(number, size, without=SYNTHIA_LACKS)
        _write_rgb(root / f"RGB/{number:07d}.png", image_of(label_map, number))
        pixels = np.zeros((*size, 3), np.uint16)  # OpenCV's order: B, G, R
        pixels[..., 2] = _encode(label_map, SYNTHIA_LABEL_IDS)
        pixels[..., 1] = np.arange(size[1]) + 300
        _write(root / f"GT/LABELS/{number:07d}.png", pixels)


def write_synscapes(root: Path, frames: int = 3, size: tuple[int, int] = SIZE) -> None:
    """img/rgb/1.png, img/class/1.png: numbers without leading zeros, 8-bit Cityscapes label ids."""
    for number in range(1, frames + 1):
        label_map = truth(number, size)
        _write_rgb(root / f"img/rgb/{number}.png", image_of(label_map, number))
        _write(root / f"img/class/{number}.png", _encode(label_map, CITYSCAPES_LABEL_IDS))


CITYSCAPES_CITIES: Mapping[str, tuple[str, ...]] = {
    "train": ("aachen", "ulm"),
    "val": ("frankfurt",),
    "test": ("bonn",),
}


def write_cityscapes(root: Path, frames: int = 2, size: tuple[int, int] = SIZE) -> None:
    """leftImg8bit/SPLIT/CITY/..._leftImg8bit.png, gtFine/SPLIT/CITY/..._gtFine_{labelIds,color}.png; `frames` a city.

    The labels of test are blank, as the official ones are.
    """
    for split, cities in CITYSCAPES_CITIES.items():
        for city in cities:
            for number in range(frames):
                stem = f"{split}/{city}/{city}_{number:06d}_000019"
                label_map = truth(number, size)
                _write_rgb(root / f"leftImg8bit/{stem}_leftImg8bit.png", image_of(label_map, number))
                ids = np.zeros(size, np.uint8) if split == "test" else _encode(label_map, CITYSCAPES_LABEL_IDS)
                _write(root / f"gtFine/{stem}_gtFine_labelIds.png", ids)
                _write_rgb(root / f"gtFine/{stem}_gtFine_color.png", np.zeros((*size, 3), np.uint8))


def write_cross_city(
    root: Path,
    frames: int = 2,
    size: tuple[int, int] = SIZE,
    cities: Sequence[str] = ("Rio", "Rome", "Tokyo", "Taipei"),
) -> None:
    """CITY/Images/{Train,Test}/pano_....png, CITY/Labels/Test/pano_..._eval.png: 13 classes, train has no labels."""
    others = [i for i in range(19) if i not in CROSS_CITY_TRAIN_IDS]
    for city in cities:
        for number in range(frames):
            label_map = truth(number, size, without=others)
            for kind in ("Train", "Test"):
                _write_rgb(root / f"{city}/Images/{kind}/pano_{number:05d}_0_180.png", image_of(label_map, number))
            path = root / f"{city}/Labels/Test/pano_{number:05d}_0_180_eval.png"
            _write(path, _encode(label_map, CITYSCAPES_LABEL_IDS))


def _encode(label_map: NDArray[np.uint8], label_ids: Sequence[int]) -> NDArray[np.uint8]:
    """Train ids -> a data set's label ids; ignored pixels become 0."""
    table = np.zeros(256, np.uint8)
    table[: len(label_ids)] = label_ids
    return table[label_map]


def _write_rgb(path: Path, image: NDArray[np.uint8]) -> None:
    _write(path, np.ascontiguousarray(image[..., ::-1]))


def _write(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels), path
