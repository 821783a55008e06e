"""A tiny data set in CamVid's layout."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from adaptseg_serve.labels import LabelMap


def write_camvid(root: Path, label_maps: Mapping[str, LabelMap], split: str = "val") -> Path:
    """Label maps by file name (label ids; 11 is unlabelled), each beside an image of noise; returns `root`."""
    rng = np.random.default_rng(1)
    for kind in ("images", "labels"):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
    for name, label_map in label_maps.items():
        image = rng.integers(0, 256, (*label_map.shape, 3), dtype=np.uint8)
        cv2.imwrite(str(root / split / "images" / f"{name}.png"), image)
        cv2.imwrite(str(root / split / "labels" / f"{name}.png"), label_map)
    return root
