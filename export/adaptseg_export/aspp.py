"""The exact ASPP rewrite: four dilated 3x3 convolutions as one 1x1 convolution and shifted adds."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptseg_training.models.aspp import Aspp


class ShiftedAspp(nn.Module):
    """The same sum as `Aspp`, in another order: a convolution is the sum over its taps of a 1x1 convolution, shifted.

    All taps are computed at once by one 1x1 convolution (the centres of the branches are one tap), a plain matrix
    product over long rows; each is then shifted by its offset and added. Logits differ from `Aspp`'s by rounding.
    """

    def __init__(self, aspp: Aspp) -> None:
        super().__init__()
        branches = [branch for branch in aspp.branches if isinstance(branch, nn.Conv2d)]
        taps = _taps(branches)
        weights = list(taps.values())
        self.offsets = tuple(taps)
        self.reach = max(max(map(abs, offset)) for offset in self.offsets)
        self.classes, channels = weights[0].shape
        self.project = nn.Conv2d(channels, self.classes * len(weights), 1, bias=False)
        self.project.weight = nn.Parameter(torch.cat(weights)[:, :, None, None], requires_grad=False)
        biases = [branch.bias.detach() for branch in branches if branch.bias is not None]
        self.register_buffer("bias", torch.stack(biases).sum(0).view(1, -1, 1, 1))

    bias: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) features -> (N, classes, h, w) logits."""
        height, width = features.shape[2:]
        parts = functional.pad(self.project(features), (self.reach,) * 4)
        logits = self.bias
        for tap, (down, right) in enumerate(self.offsets):
            of_tap = parts[:, tap * self.classes : (tap + 1) * self.classes]
            top, left = self.reach + down, self.reach + right
            logits = logits + of_tap[:, :, top : top + height, left : left + width]
        return logits


def _taps(branches: list[nn.Conv2d]) -> dict[tuple[int, int], Tensor]:
    """(down, right) offset -> (classes, channels) weights; branches that share an offset are summed."""
    taps: dict[tuple[int, int], Tensor] = {}
    for branch in branches:
        step = int(branch.dilation[0])
        for i in range(3):
            for j in range(3):
                offset = ((i - 1) * step, (j - 1) * step)
                weight = branch.weight.detach()[:, :, i, j]
                taps[offset] = taps[offset] + weight if offset in taps else weight
    return taps


WINS_FROM = 2048
"""Input channels from which the rewrite is faster; docs/adr/0004 has the figures."""


def with_shifted_aspp(network: nn.Module, from_channels: int = WINS_FROM) -> nn.Module:
    """`network`, or a copy whose ASPP heads of at least `from_channels` input channels are `ShiftedAspp`."""
    heads = [module for module in network.modules() if isinstance(module, Aspp)]
    if not any(_channels(head) >= from_channels for head in heads):
        return network
    copied = copy.deepcopy(network)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Aspp) and _channels(child) >= from_channels:
                setattr(module, name, ShiftedAspp(child))
    return copied


def _channels(head: Aspp) -> int:
    branch = head.branches[0]
    assert isinstance(branch, nn.Conv2d)
    return branch.in_channels
