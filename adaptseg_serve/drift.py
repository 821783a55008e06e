"""Is the road still like the one the model was validated on? Class shares and entropy over a sliding window.

A predictor around the bundle's own looks at one image in every `every`, in the device's thread, and reports the
window's means. Label maps pass through it untouched.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.predictor import Predictor, Scored, Size
from adaptseg_serve.reference import Window, distance, figures_of


class DriftWatch:
    """A Predictor that answers as `predictor` does and keeps the drift metrics of `bundle`."""

    def __init__(self, predictor: Predictor, bundle: Bundle, metrics: Metrics, *, window: int, every: int) -> None:
        """window: images that are remembered. every: one image in this many is looked at, one of a batch at most."""
        self._predictor, self._bundle, self._metrics = predictor, bundle, metrics
        self._window = Window(len(bundle.labels), window)
        self._every = every
        metrics.drift_begins(None if bundle.reference is None else bundle.reference.figures.entropy)
        self._unseen = every - 1  # The first image is looked at: a wrong camera shows at once.

    @property
    def runtime(self) -> str:
        return self._predictor.runtime

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """See `Predictor.predict`."""
        if not self._due(len(images)):
            return self._predictor.predict(images, sizes)
        if self.runtime.startswith("onnxruntime") and "cpu" not in self.runtime:
            # A GPU finishes in the graph: a label map made from the logits may differ from its where scores are tied.
            label_maps = self._predictor.predict(images, sizes)
            self._look(self._predictor.predict_scored(images[:1], sizes[:1])[0])
            return label_maps
        scored = self._predictor.predict_scored(images, sizes)
        self._look(scored[0])
        return [one.label_map for one in scored]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        """See `Predictor.predict_scored`."""
        scored = self._predictor.predict_scored(images, sizes)
        if self._due(len(images)):
            self._look(scored[0])
        return scored

    def _due(self, images: int) -> bool:
        self._unseen += images
        if self._unseen < self._every:
            return False
        self._unseen %= self._every
        return True

    def _look(self, scored: Scored) -> None:
        self._window.add(figures_of(scored.label_map, scored.logits))
        now, reference = self._window.mean(), self._bundle.reference
        away = None if reference is None else distance(now.shares, reference.figures.shares)
        self._metrics.drift(dict(zip(self._bundle.labels.names, now.shares, strict=True)), now.entropy, away)
