"""How far two runs of one segmenter agree, pixel by pixel. NumPy only: a serving machine can ask, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap
from adaptseg_serve.tail import Logits
from adaptseg_serve.uncertainty import uncertainty_from_logits

TIE = 1e-4
"""A disagreeing pixel is a tie if the reference's scores of the two train ids differ by at most
TIE * max(1, max |logit|)."""
SURE = 0.9
"""A pixel is sure where the reference's softmax gives its class at least this probability."""


@dataclass(frozen=True)
class Comparison:
    """A run against its reference on one batch."""

    name: str
    shape: tuple[int, ...]
    """(N, H, W) of the label maps."""
    disagreeing: int
    """Pixels whose train ids differ."""
    ties: int
    """Those of them that are ties; see TIE."""
    max_logit_difference: float
    sure: int = 0
    """Pixels of which the reference is sure; see SURE."""
    sure_disagreeing: int = 0
    """Those of them whose train ids differ."""
    label_counts: tuple[int, ...] = ()
    """Pixels of each train id in the run's own label maps."""

    @property
    def pixels(self) -> int:
        return int(np.prod(self.shape))

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "shape": list(self.shape), "label_counts": list(self.label_counts)}


@dataclass(frozen=True)
class Agreement:
    """All comparisons of one graph on one runtime with one reference."""

    graph: str
    """File name in the bundle."""
    runtime: str
    against: str
    comparisons: tuple[Comparison, ...]
    miou: Mapping[str, float | None] = field(default_factory=dict)
    """"dataset/split" -> mIoU, 0..1."""

    @property
    def pixels(self) -> float:
        """Share of pixels with the same train id, 0..1."""
        return 1.0 - sum(c.disagreeing for c in self.comparisons) / sum(c.pixels for c in self.comparisons)

    @property
    def sure(self) -> float:
        """Share of the reference's sure pixels with the same train id, 0..1; 1 if it is sure of none."""
        return 1.0 - sum(c.sure_disagreeing for c in self.comparisons) / max(1, sum(c.sure for c in self.comparisons))

    @property
    def only_ties(self) -> bool:
        return all(c.ties == c.disagreeing for c in self.comparisons)

    @property
    def max_logit_difference(self) -> float:
        return max(c.max_logit_difference for c in self.comparisons)

    def record(self) -> dict[str, Any]:
        """One entry of parity.json."""
        return {
            "runtime": self.runtime,
            "against": self.against,
            "agreement": self.pixels,
            "sure_agreement": self.sure,
            "max_logit_difference": self.max_logit_difference,
            "disagreeing": sum(c.disagreeing for c in self.comparisons),
            "ties": sum(c.ties for c in self.comparisons),
            "miou": dict(self.miou),
            "comparisons": [c.record() for c in self.comparisons],
        }


def compare_batch(
    name: str, expected: Sequence[LabelMap], expected_logits: Logits, found: Sequence[LabelMap], logits: Logits
) -> Comparison:
    """`found` and `logits` (N, C, h, w) against what the reference said; label maps of N images of one size."""
    reference, label_maps = np.stack(expected), np.stack(found)
    differs = reference != label_maps
    size = (reference.shape[1], reference.shape[2])
    sure = np.stack([uncertainty_from_logits(one, size).confidence >= SURE for one in expected_logits])
    return Comparison(
        name=name,
        shape=label_maps.shape,
        disagreeing=int(differs.sum()),
        ties=_count_ties(expected_logits, reference, label_maps, np.argwhere(differs)),
        max_logit_difference=float(np.abs(expected_logits.astype(np.float32) - logits).max()),
        sure=int(sure.sum()),
        sure_disagreeing=int((sure & differs).sum()),
        label_counts=tuple(int(n) for n in np.bincount(label_maps.ravel(), minlength=logits.shape[1])),
    )


def _count_ties(
    logits: Logits, expected: NDArray[np.uint8], label_map: NDArray[np.uint8], differs: NDArray[np.intp]
) -> int:
    """How many of the pixels `differs` (rows of n, y, x) are ties by the reference's own scores, in float64."""
    if len(differs) == 0:
        return 0
    tolerance = TIE * max(1.0, float(np.abs(logits).max()))
    n, y, x = differs.T
    one, other = expected[n, y, x], label_map[n, y, x]
    lost = _scores_at(logits, one, n, y, x, expected.shape) - _scores_at(logits, other, n, y, x, expected.shape)
    return int((np.abs(lost) <= tolerance).sum())


def _scores_at(
    logits: Logits, train_ids: NDArray[Any], n: NDArray[Any], y: NDArray[Any], x: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Scores of one train id at each of some pixels of (N, H, W): logits upsampled bilinearly, align_corners."""
    (top, bottom, v), (left, right, u) = (
        _neighbours(y, logits.shape[2], shape[1]),
        _neighbours(x, logits.shape[3], shape[2]),
    )
    a, b = logits[n, train_ids, top, left], logits[n, train_ids, top, right]
    c, d = logits[n, train_ids, bottom, left], logits[n, train_ids, bottom, right]
    found = (1 - v) * ((1 - u) * a.astype(np.float64) + u * b) + v * ((1 - u) * c.astype(np.float64) + u * d)
    return np.asarray(found, np.float64)


def _neighbours(
    positions: NDArray[Any], cells: int, pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    exact = positions * ((cells - 1) / max(pixels - 1, 1))
    low = np.minimum(exact.astype(np.int64), cells - 1)
    return low, np.minimum(low + 1, cells - 1), exact - low
