"""PreprocessSpec on tensors."""

import torch
from torch import Tensor, nn

from adaptseg_serve.preprocess import PreprocessSpec


class Normalise(nn.Module):
    """(N, 3, H, W) uint8 RGB, 0..255 -> (N, 3, H, W) float32 in the spec's colour order, less mean, over std.

    It has no entries in the state dict: its numbers live in the PreprocessSpec, which checkpoints and bundles record.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: PreprocessSpec) -> None:
        super().__init__()
        self.bgr = spec.color_order == "bgr"
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flip(1) if self.bgr else images
        return (pixels.to(self.mean.dtype) - self.mean) / self.std
