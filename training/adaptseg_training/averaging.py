"""Moving averages of a generator's weights."""

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, momentum: float, step: int) -> None:
    """Move `average` towards `network`, after the update of `step`, counted from 0.

    average <- momentum * average + (1 - momentum) * network, buffers included; whole numbers are copied. In the first
    steps the momentum is 1 - 1 / (step + 2), if less: the average of few networks is their mean.
    """
    share = min(1 - 1 / (step + 2), momentum)
    students = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(students[name].to(value.dtype), 1 - share)
        else:
            value.copy_(students[name])
