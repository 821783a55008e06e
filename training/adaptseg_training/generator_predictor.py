"""A generator behind the serving package's Predictor protocol: evaluation and previews see what serving will."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.models.normalise import Normalise
from adaptseg_training.models.upsample import upsample


class GeneratorPredictor:
    """Runs the main level of `generator` in eval mode; its training modes are put back afterwards."""

    def __init__(self, generator: nn.Module, spec: PreprocessSpec, device: torch.device) -> None:
        self._generator, self._device = generator, device
        self._normalise = Normalise(spec).to(device)

    @property
    def runtime(self) -> str:
        return f"torch-{self._device.type}"

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[tuple[int, int]]) -> list[LabelMap]:
        """(N, H, W, 3) uint8 RGB -> N label maps of `sizes`; logits are upsampled before argmax."""
        return [scored.label_map for scored in self.predict_scored(images, sizes)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[tuple[int, int]]) -> list[Scored]:
        """The same with the logits, (classes, h, w) float32 each."""
        batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(self._device)
        with torch.inference_mode(), evaluating(self._generator):
            logits = self._generator(self._normalise(batch)).main
            return [
                Scored(
                    upsample(logits[i : i + 1], size)[0].argmax(0).to(torch.uint8).cpu().numpy(),
                    logits[i].float().cpu().numpy(),
                )
                for i, size in enumerate(sizes)
            ]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """`network` in eval mode inside, every module's own mode as before outside."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
