"""Atrous spatial pyramid pooling, DeepLab-v2's classifier."""

from typing import Literal

import torch
from torch import Tensor, nn

DILATIONS = (6, 12, 18, 24)


class Aspp(nn.Module):
    """Sum of dilated 3x3 convolutions: (N, C, h, w) features -> (N, classes, h, w) logits.

    The paper sums four branches. The reference code computes the first two only, and its released checkpoints
    need that: `branches` is 2 for them.
    """

    def __init__(self, in_channels: int, classes: int, branches: Literal[2, 4]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, classes, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS[:branches]
        )
        for conv in self.branches:
            torch.nn.init.normal_(conv.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.branches[0](features)
        for branch in self.branches[1:]:
            logits = logits + branch(features)
        return logits
