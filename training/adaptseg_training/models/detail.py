"""A finer main level: what the coarse scores miss at an eighth of the image's size, features at a quarter can add."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptseg_training.models.upsample import upsample

WIDTH = 48
"""Channels between the two convolutions."""


class Detail(nn.Module):
    """Scores at a quarter: coarse logits (N, C, h, w), fine features (N, F, 2h, 2w) -> logits (N, C, 2h, 2w).

    A correction that is 0 at first is added to the upsampled coarse scores, so a trained generator keeps what it knows.
    Poles and signs are a pixel or two wide at an eighth. DeepLabv3+ joins two depths to the same end; the paper's
    generators have no such thing.
    """

    def __init__(self, classes: int, fine_channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(classes + fine_channels, WIDTH, 3, padding=1)
        self.change = nn.Conv2d(WIDTH, classes, 3, padding=1)
        nn.init.zeros_(self.change.weight)
        assert self.change.bias is not None
        nn.init.zeros_(self.change.bias)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        scores = upsample(coarse, (fine.shape[-2], fine.shape[-1]))
        seen = torch.cat([scores.softmax(1).to(fine.dtype), fine], 1)  # scores are upsampled in float32
        change: Tensor = self.change(functional.relu(self.mix(seen)))
        return scores + change
