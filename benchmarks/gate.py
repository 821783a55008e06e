"""What the gates' files share: a gate's result, and servers to measure."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # The tests start servers the same way.
from helpers.serving import ROOT, SERVICE, Server, serving
from helpers.tiny_bundle import write_tiny_bundle

TESTS = ROOT / "tests"
SLOW = "helpers.slow_service:SegmentationService"
SIZE = (512, 1024)


@dataclass(frozen=True)
class Gate:
    """One gate's outcome; `figures` in the units that their names say."""

    number: int
    wanted: str
    passed: bool
    figures: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        return f"{'pass' if self.passed else 'FAIL'}  {self.number}. {self.wanted}: {said}"


@contextmanager
def tiny_server(size: tuple[int, int] = SIZE, service: str = SERVICE, **environ: str) -> Iterator[Server]:
    """A server of a bundle of random weights; SLOW: of a predictor that only waits SLOW_SECONDS."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        with serving(write_tiny_bundle(place / "tiny", size), place, service, cwd=TESTS, **environ) as server:
            yield server


def frame(size: tuple[int, int] = SIZE, seed: int = 3) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, smooth."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image[..., ::-1])[1])
