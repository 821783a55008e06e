"""GTA5, "Playing for Data" (Richter et al., ECCV 2016): 24 966 frames of 1914 x 1052 from a game.

Layout, as its ten image and ten label archives unpack: images/00001.png .. images/24966.png, and of the same names
labels/*.png: 8-bit palette PNGs whose numbers, not colours, are Cityscapes' label ids (the palette is the
archives' own; the `read_mapping` archive says so). That archive also holds split.mat (MATLAB 5): the frame
numbers `trainIds`, `valIds` and `testIds`, 12 403, 6 382 and 6 181 of them. The paper trains on all.

A few frames (15188 and 17705 are known) have labels of another size than their image. The reference code resizes
both to the training size, so nobody noticed; so do we, and `adaptseg-data check` mentions them.
"""

from pathlib import Path

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import GTA5_IDS
from adaptseg_training.data.listing import Listing, beside, image_files
from adaptseg_training.errors import DataError

SPLITS = ("all", "train", "val", "test")
_LAYOUT = "GTA5 is expected as its archives unpack: images/00001.png ..., labels/00001.png ..."


def list_gta5(root: Path, split: str) -> Listing:
    """All frames, or those of train, val or test by the official split.mat in `root`."""
    images = image_files(root / "images", _LAYOUT)
    if split not in ("", "all"):
        wanted = _split_stems(root / "split.mat", split)
        images = [p for p in images if p.stem in wanted]
        if not images:
            raise ConfigError(f"{root} holds no image of GTA5's split {split!r}.")
    return Listing(tuple(images), beside(images, root / "labels", GTA5_IDS, stretched=True))


def _split_stems(path: Path, split: str) -> frozenset[str]:
    """File names, without .png, of a split's frames."""
    if split not in SPLITS:
        raise ConfigError(f"gta5 has no split {split!r}; it has {', '.join(SPLITS)}.")
    if not path.is_file():
        raise ConfigError(
            f"gta5's split {split!r} needs {path}, which is in the official read_mapping archive; "
            "without it leave the split empty: all frames."
        )
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        numbers = loadmat(path)[f"{split}Ids"].ravel()
    except (OSError, ValueError, KeyError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path} is not GTA5's split file ({error}). Download it again.") from error
    return frozenset(f"{int(number):05d}" for number in numbers)
