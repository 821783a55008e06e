"""CamVid and synthetic_streets: images/NAME.jpg beside labels/NAME.png, in CamVid's 11 classes."""

from collections.abc import Callable
from pathlib import Path

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CAMVID_IDS
from adaptseg_training.data.listing import Listing, beside, image_files

CAMVID_SPLITS = ("train", "val", "test", "day", "dusk")
_DAY, _DUSK = ("0006R0_", "0016E5_"), ("0001TP_",)
_LAYOUT = "Expected: images/NAME.jpg or .png, and labels/NAME.png."


def list_camvid(root: Path, split: str) -> Listing:
    """CamVid in the 11 classes of SegNet: SPLIT/images, SPLIT/labels. day and dusk are parts of train, by sequence."""
    match split or "train":
        case "day":
            return _folder(root / "train", lambda name: name.startswith(_DAY))
        case "dusk":
            return _folder(root / "train", lambda name: name.startswith(_DUSK))
        case "train" | "val" | "test" as folder:
            return _folder(root / folder)
        case other:
            raise ConfigError(f"camvid has no split {other!r}; it has {', '.join(CAMVID_SPLITS)}.")


def list_synthetic_streets(root: Path) -> Listing:
    """800 rendered frames over CARLA layouts, in CamVid's 11 classes."""
    return _folder(root)


def _folder(folder: Path, keep: Callable[[str], bool] = lambda name: True) -> Listing:
    images = tuple(p for p in image_files(folder / "images", _LAYOUT) if keep(p.name))
    return Listing(images, beside(images, folder / "labels", CAMVID_IDS))
