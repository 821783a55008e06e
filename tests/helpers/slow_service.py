"""The service with a predictor of a known pace, for tests of draining, deadlines and abandoned work.

Serve it as `helpers.slow_service:SegmentationService` from the tests' folder. SLOW_SECONDS is the length of a run,
SLOW_ANSWER what the making of a confidence map takes after it; SLOW_LOG names a file that gets one line (its
time.monotonic() start and its batch size) a run.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.service import SegmentationService  # isort: skip  # first: it readies the process
from adaptseg_serve import segmenter
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Predictor, Scored, Size
from adaptseg_serve.runtimes.wishes import NO_WISHES, EngineWishes
from adaptseg_serve.uncertainty import Uncertainty

__all__ = ["SegmentationService"]


class SlowPredictor:
    runtime = "slow"

    def __init__(self) -> None:
        self._seconds = float(os.environ.get("SLOW_SECONDS", "0.3"))
        self._log = Path(os.environ["SLOW_LOG"]) if "SLOW_LOG" in os.environ else None

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        if self._log is not None:
            with self._log.open("a") as log:
                log.write(f"{time.monotonic()} {len(images)}\n")
        if self._seconds:
            time.sleep(self._seconds)
        return [np.full(size, 1, np.uint8) for size in sizes]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        return [SlowlyScored(label_map, np.zeros((19, 6, 8), np.float32)) for label_map in self.predict(images, sizes)]


class SlowlyScored(Scored):
    def uncertainty(self) -> Uncertainty:
        time.sleep(float(os.environ.get("SLOW_ANSWER", "0")))
        return super().uncertainty()


def load(bundle: Bundle, threads: int = 0, runtime: str = "auto", wishes: EngineWishes = NO_WISHES) -> Predictor:
    return SlowPredictor()


segmenter.load_predictor = load
