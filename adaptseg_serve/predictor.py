"""What runs a bundle's graph. A predictor is synchronous and knows nothing of requests."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.labels import LabelMap

Size = tuple[int, int]
"""(height, width) in pixels."""


class Predictor(Protocol):
    """A bundle's graph, loaded. One thread calls it at a time."""

    @property
    def runtime(self) -> str:
        """Name and device, for logs and answers: "onnxruntime-cpu"."""
        ...

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """Label maps of a batch.

        images: (N, H, W, 3) uint8 RGB, 0..255, already at the size the network shall see.
        sizes: N (height, width): the size of each label map; scores are upsampled to it (align_corners) before
        argmax, so that a label map of another size than the image is as sharp as the scores allow.
        Returns N label maps, uint8 train ids.
        """
        ...


def load_predictor(bundle: Bundle, threads: int = 0) -> Predictor:
    """The predictor that fits this machine; `threads` 0 lets the runtime choose."""
    from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor

    return OnnxRuntimePredictor(bundle, threads=threads)
