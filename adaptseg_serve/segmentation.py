"""What the segmenter answers, and what it can be asked for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored

Image = NDArray[np.uint8]
WantedSize = Literal["input", "model"]
"""Size of a label map: that of the client's image, or that of the network's input."""


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds; `decode` includes resizing."""

    decode: float
    queue: float
    infer: float


@dataclass(frozen=True)
class Segmentation:
    """The answer to one image."""

    label_map: LabelMap
    timings: Timings
    bundle: Bundle
    """What answered: after a swap another than the segmenter's."""
    image: Image | None = None
    """(H, W, 3) uint8 RGB, upright: the decoded image, where `keep_image` asked for it."""
    scored: Scored | None = None
    """Where `scored` asked for it: what confidence and entropy are made from."""

    def shares(self) -> NDArray[np.float64]:
        """(256,) share of each train id in the label map's pixels; they sum to 1."""
        counts = np.bincount(self.label_map.ravel(), minlength=256)
        return counts / self.label_map.size
