"""Cityscapes (Cordts et al., CVPR 2016): 2 975 train, 500 val and 1 525 test frames of 2048 x 1024.

Layout of leftImg8bit_trainvaltest and gtFine_trainvaltest (cityscapesScripts' README):
leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png and, under gtFine, of the same names but for the ending,
SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png, 8-bit label ids. Without gtFine the frames are unlabelled, which
is all that a target domain needs; those of test always are, since its official label files are blank.
"""

from pathlib import Path

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CITYSCAPES_IDS
from adaptseg_training.data.listing import Labels, Listing
from adaptseg_training.data.sample import only_images

SPLITS = ("train", "val", "test")
_IMAGE, _LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"
_LAYOUT = f"Cityscapes is expected as its archives unpack: leftImg8bit/train/aachen/*{_IMAGE}, gtFine/..."


def list_cityscapes(root: Path, split: str) -> Listing:
    """The frames of train (also if `split` is empty), val or test, city by city."""
    split = split or "train"
    if split not in SPLITS:
        raise ConfigError(f"cityscapes has no split {split!r}; it has {', '.join(SPLITS)}.")
    folder, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}. {_LAYOUT}")
    images = tuple(sorted(only_images(folder.glob(f"*/*{_IMAGE}"))))
    if not images:
        raise ConfigError(f"{folder} holds no CITY/*{_IMAGE}. {_LAYOUT}")
    if split == "test" or not labels.is_dir():
        return Listing(images)
    wanted = tuple(labels / p.parent.name / p.name.replace(_IMAGE, _LABELS) for p in images)
    return Listing(images, Labels(wanted, frozenset(labels.glob(f"*/*{_LABELS}")), CITYSCAPES_IDS))
