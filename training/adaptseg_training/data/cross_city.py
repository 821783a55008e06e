"""Cross-City, also NTHU (Chen et al., ICCV 2017): Google Street View of Rio, Rome, Tokyo and Taipei.

Layout, as public code that trains on it reads it (ZJULearning/MaxSquareLoss, datasets/crosscity_Dataset.py and its
lists; the archive itself was not at hand): CITY/Images/Train/*.png, 3 200 frames a city without labels, and
CITY/Images/Test/pano_00368_0_0.png with CITY/Labels/Test/pano_00368_0_0_eval.png, 100 frames a city: 8-bit
Cityscapes label ids, of which 13 classes are annotated. Images may be JPEG.
"""

from pathlib import Path

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CROSS_CITY_IDS
from adaptseg_training.data.listing import Listing, beside, image_files

CITIES = ("rio", "rome", "tokyo", "taipei")
_LAYOUT = "Cross-City is expected as CITY/Images/Train, CITY/Images/Test and CITY/Labels/Test/NAME_eval.png."


def list_cross_city(root: Path, split: str) -> Listing:
    """`split` is CITY or CITY/train (unlabelled), or CITY/test (13 classes); large and small letters are one."""
    city, _, part = split.lower().partition("/")
    part = part or "train"
    if city not in CITIES or part not in ("train", "test"):
        raise ConfigError(
            f"cross_city has no split {split!r}; it has CITY/train (unlabelled) and CITY/test (labelled), "
            f"CITY being {', '.join(CITIES)}: rome/train."
        )
    folder = _city_folder(root, city)
    images = image_files(folder / "Images" / part.capitalize(), _LAYOUT)
    if part == "train":
        return Listing(tuple(images))
    labels = beside(images, folder / "Labels" / "Test", CROSS_CITY_IDS, name=lambda image: f"{image.stem}_eval.png")
    return Listing(tuple(images), labels)


def _city_folder(root: Path, city: str) -> Path:
    found = [p for p in root.iterdir() if p.name.lower() == city] if root.is_dir() else []
    if not found:
        raise ConfigError(f"there is no folder {root / city.capitalize()}. {_LAYOUT}")
    return found[0]
