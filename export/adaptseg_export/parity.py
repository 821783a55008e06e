"""Does the graph say what the generator says? Asked of onnxruntime, on several shapes and on real images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from adaptseg_export.deployment import Deployment
from adaptseg_export.options import Weights
from adaptseg_serve.errors import AdaptSegError

MIN_AGREEMENT: Mapping[Weights, float] = {"fp32": 0.9999, "fp16": 0.999}
"""Share of pixels, over all checks, that must have the same train id, by how the graph stores its weights."""
TIE = 1e-4
"""With fp32 weights, every pixel that disagrees must be a tie, too; rounded weights move more than ties.

A disagreeing pixel is a tie if PyTorch's scores of the two train ids differ by at most TIE * max(1, max |logit|)."""


class ParityError(AdaptSegError):
    """The exported graph disagrees with the generator; no bundle is written."""


@dataclass(frozen=True)
class Comparison:
    """Graph against generator on one batch."""

    name: str
    shape: tuple[int, ...]
    """(N, H, W) of the label maps."""
    disagreeing: int
    """Pixels whose train ids differ."""
    ties: int
    """Those of them that are ties; see TIE."""
    max_logit_difference: float

    @property
    def pixels(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Parity:
    """All comparisons of one export."""

    comparisons: tuple[Comparison, ...]
    weights: Weights = "fp32"

    @property
    def needed(self) -> float:
        """The agreement an export needs."""
        return MIN_AGREEMENT[self.weights]

    @property
    def agreement(self) -> float:
        """Share of pixels with the same train id, 0..1."""
        pixels = sum(c.pixels for c in self.comparisons)
        return 1.0 - sum(c.disagreeing for c in self.comparisons) / pixels

    @property
    def passed(self) -> bool:
        only_ties = all(c.ties == c.disagreeing for c in self.comparisons)
        return self.agreement >= self.needed and (only_ties or self.weights == "fp16")

    def record(self) -> dict[str, Any]:
        """What bundle.json holds under `parity`."""
        return {
            "runtime": f"onnxruntime {onnxruntime.__version__} CPU against torch {torch.__version__} CPU",
            "agreement": self.agreement,
            "weights": self.weights,
            "min_agreement": self.needed,
            "tie": TIE,
            "max_logit_difference": max(c.max_logit_difference for c in self.comparisons),
            "comparisons": [
                {
                    "name": c.name,
                    "shape": list(c.shape),
                    "disagreeing": c.disagreeing,
                    "ties": c.ties,
                    "max_logit_difference": c.max_logit_difference,
                }
                for c in self.comparisons
            ],
        }


def compare(
    deployment: Deployment,
    model: Path,
    batches: Iterable[tuple[str, NDArray[np.uint8]]],
    weights: Weights = "fp32",
) -> Parity:
    """Run both on every (name, (N, H, W, 3) uint8 RGB) batch; at least one batch is needed."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return Parity(tuple(_compare(deployment, session, name, images) for name, images in batches), weights)


def require(parity: Parity) -> None:
    """Raise ParityError, with the worst batch, unless `parity` passed."""
    if parity.passed:
        return
    worst = max(parity.comparisons, key=lambda c: c.disagreeing - c.ties)
    raise ParityError(
        f"the graph agrees with the generator in {parity.agreement:.4%} of pixels (needed {parity.needed:.2%}); "
        f"worst: {worst.name} {worst.shape}, {worst.disagreeing} pixels differ, {worst.ties} of them ties. "
        "No bundle was written. Try another torch or onnxruntime release, and report this with both versions."
    )


def _compare(
    deployment: Deployment, session: onnxruntime.InferenceSession, name: str, images: NDArray[np.uint8]
) -> Comparison:
    with torch.inference_mode():
        expected, expected_logits = (t.numpy() for t in deployment(torch.from_numpy(images)))
    label_map, logits = session.run(["label_map", "logits"], {"image": images})
    differs = np.argwhere(expected != label_map)
    return Comparison(
        name=name,
        shape=label_map.shape,
        disagreeing=len(differs),
        ties=_count_ties(expected_logits, expected, label_map, differs),
        max_logit_difference=float(np.abs(expected_logits - logits).max()),
    )


def _count_ties(
    logits: NDArray[np.float32],
    expected: NDArray[np.uint8],
    label_map: NDArray[np.uint8],
    differs: NDArray[np.intp],
) -> int:
    """How many of the pixels `differs` (rows of n, y, x) are ties by the generator's own scores, in float64."""
    if len(differs) == 0:
        return 0
    tolerance = TIE * max(1.0, float(np.abs(logits).max()))
    ties = 0
    for n, y, x in differs:
        scores = _scores_at(logits[n], int(y), int(x), expected.shape[1:])
        ties += bool(abs(scores[expected[n, y, x]] - scores[label_map[n, y, x]]) <= tolerance)
    return ties


def _scores_at(logits: NDArray[np.float32], y: int, x: int, size: tuple[int, ...]) -> NDArray[np.float64]:
    """(C,) float64: logits (C, h, w) upsampled bilinearly, align_corners, at one pixel of an image of `size`."""
    (top, bottom, v), (left, right, u) = (
        _neighbours(y, logits.shape[1], size[0]),
        _neighbours(x, logits.shape[2], size[1]),
    )
    corners = logits[:, [top, top, bottom, bottom], [left, right, left, right]].astype(np.float64)
    weights = np.array([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u])
    return np.asarray(corners @ weights)


def _neighbours(position: int, cells: int, pixels: int) -> tuple[int, int, float]:
    exact = position * (cells - 1) / (pixels - 1) if pixels > 1 else 0.0
    low = min(int(exact), cells - 1)
    return low, min(low + 1, cells - 1), exact - low
