"""Does the graph say what the generator says? Asked of onnxruntime, on several shapes and on real images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from adaptseg_export.agreement import TIE, Agreement, Comparison, compare_batch
from adaptseg_export.bounds import MIN_AGREEMENT, MIN_AGREEMENT_FP16_WEIGHTS
from adaptseg_export.deployment import Deployment
from adaptseg_export.options import Weights
from adaptseg_serve.bundle import MODEL
from adaptseg_serve.errors import AdaptSegError

__all__ = ["NEEDED", "TIE", "Comparison", "Parity", "ParityError", "compare", "require"]

NEEDED: Mapping[Weights, float] = {"fp32": MIN_AGREEMENT, "fp16": MIN_AGREEMENT_FP16_WEIGHTS}
"""Share of pixels, over all checks, that must have the same train id, by how the graph stores its weights."""


class ParityError(AdaptSegError):
    """The exported graph disagrees with the generator; no bundle is written."""


@dataclass(frozen=True)
class Parity:
    """All comparisons of one export."""

    comparisons: tuple[Comparison, ...]
    weights: Weights = "fp32"

    @property
    def needed(self) -> float:
        """The agreement an export needs."""
        return NEEDED[self.weights]

    @property
    def of_graph(self) -> Agreement:
        """The same as an entry of parity.json."""
        return Agreement(MODEL, "onnxruntime-cpu", f"torch {torch.__version__} CPU", self.comparisons)

    @property
    def agreement(self) -> float:
        """Share of pixels with the same train id, 0..1."""
        return self.of_graph.pixels

    @property
    def passed(self) -> bool:
        return self.agreement >= self.needed and (self.of_graph.only_ties or self.weights == "fp16")

    def record(self) -> dict[str, Any]:
        """What bundle.json holds under `parity`."""
        return {
            "runtime": f"onnxruntime {onnxruntime.__version__} CPU against torch {torch.__version__} CPU",
            "agreement": self.agreement,
            "weights": self.weights,
            "min_agreement": self.needed,
            "tie": TIE,
            "max_logit_difference": self.of_graph.max_logit_difference,
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
        expected, expected_logits = (t.numpy() for t in deployment(torch.from_numpy(images.copy())))
    label_map, logits = session.run(["label_map", "logits"], {"image": images})
    return compare_batch(name, expected, expected_logits, label_map, logits)
