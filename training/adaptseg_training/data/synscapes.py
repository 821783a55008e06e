"""Synscapes (Wrenninge and Unger, 2018): 25 000 path-traced frames of 1440 x 720.

Layout of the archive (its documentation): img/rgb/1.png .. img/rgb/25000.png, and of the same names img/class/*.png,
8-bit Cityscapes label ids of the same size. The enlarged copies in img/rgb-2k are not read.
"""

from pathlib import Path

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CITYSCAPES_IDS
from adaptseg_training.data.listing import Listing, beside, image_files

_LAYOUT = "Synscapes is expected as its archive unpacks: img/rgb/1.png ..., img/class/1.png ..."


def list_synscapes(root: Path, split: str) -> Listing:
    """All frames, in the order of their numbers; there are no splits."""
    if split:
        raise ConfigError(f"synscapes has no splits; {split!r} was asked for. Choose a part by first, every and count.")
    images = sorted(image_files(root / "img" / "rgb", _LAYOUT), key=lambda p: (len(p.stem), p.stem))
    return Listing(tuple(images), beside(images, root / "img" / "class", CITYSCAPES_IDS))
