"""What a bundle saw where its labels were known: class shares and entropy, to tell later how far a road is from there.

Both figures are taken on a coarse grid, the same way at export and while serving, so that they compare and cost little.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap
from adaptseg_serve.tail import Logits
from adaptseg_serve.uncertainty import class_shares, mean_entropy

Shares = NDArray[np.float64]
"""(C,) share of each train id, 0..1; they sum to 1."""

ROWS = 64
"""Rows of a label map, and of its logits, that are looked at, at least; columns likewise."""


@dataclass(frozen=True)
class Figures:
    """Of one image, or the mean over several."""

    shares: Shares
    entropy: float
    """Mean entropy of the class scores, 0 (sure) to 1 (every class alike)."""


@dataclass(frozen=True)
class Reference:
    """The mean over a bundle's validation images: field `reference` of bundle.json."""

    data: str
    """"dataset/split"."""
    images: int
    figures: Figures

    def record(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "images": self.images,
            "class_shares": [round(float(share), 6) for share in self.figures.shares],
            "mean_entropy": round(self.figures.entropy, 6),
        }


def read_reference(record: Mapping[str, Any] | None, classes: int) -> Reference | None:
    """The manifest's `reference`, None where it has none. ValueError, KeyError or TypeError where it is malformed."""
    if record is None:
        return None
    shares = np.array([float(share) for share in record["class_shares"]])
    entropy = float(record["mean_entropy"])
    if shares.shape != (classes,) or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"reference.class_shares must be {classes} shares, 0 to 1")
    if not math.isclose(shares.sum(), 1, abs_tol=1e-3):
        raise ValueError(f"reference.class_shares must be {classes} shares that sum to 1")
    if not 0 <= entropy <= 1:
        raise ValueError(f"reference.mean_entropy {entropy} is outside 0..1")
    return Reference(str(record["data"]), int(record["images"]), Figures(shares, entropy))


def figures_of(label_map: LabelMap, logits: Logits) -> Figures:
    """Figures of one image: its (H, W) label map, and the (C, h, w) logits it was made from."""
    grid = logits[:, :: _step(logits.shape[1]), :: _step(logits.shape[2])]
    return Figures(shares_of(label_map, len(logits)), mean_entropy(grid))


def shares_of(label_map: LabelMap, classes: int) -> Shares:
    """Shares of a (H, W) label map, from every pixel of a grid of 64 to 127 rows and columns (all, where fewer)."""
    height, width = label_map.shape
    return class_shares(label_map[:: _step(height), :: _step(width)], classes)


class Window:
    """Means of the figures of the last images."""

    def __init__(self, classes: int, images: int) -> None:
        """images: how many are remembered."""
        self._rows = np.zeros((images, classes + 1))
        self._seen = 0

    def add(self, figures: Figures) -> None:
        self._rows[self._seen % len(self._rows)] = [*figures.shares, figures.entropy]
        self._seen += 1

    def mean(self) -> Figures:
        """Every image counts alike. There must be one."""
        row = self._rows[: self._seen].mean(axis=0)
        return Figures(row[:-1], float(row[-1]))


def distance(shares: Shares, others: Shares) -> float:
    """Jensen-Shannon distance, base 2: 0 (the same) to 1 (no class in common)."""
    middle = (shares + others) / 2
    divergence = (_relative_entropy(shares, middle) + _relative_entropy(others, middle)) / 2
    return math.sqrt(max(0.0, divergence))


def _relative_entropy(shares: Shares, others: Shares) -> float:
    there = shares > 0
    return float(np.sum(shares[there] * np.log2(shares[there] / others[there])))


def _step(length: int) -> int:
    return max(1, length // ROWS)
