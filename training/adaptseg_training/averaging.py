"""Moving averages of a generator's weights."""

import copy

import torch
from torch import nn

from adaptseg_training.models import Generator


class Average:
    """A copy of `generator` that follows it: what is deployed in its place, and the teacher of self-training."""

    def __init__(self, generator: Generator, momentum: float) -> None:
        self.generator = copy.deepcopy(generator).requires_grad_(False).eval()
        self._followed, self._momentum = generator, momentum

    def follow(self, step: int) -> None:
        """After the update of `step`, counted from 0."""
        follow(self.generator, self._followed, self._momentum, step)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, momentum: float, step: int) -> None:
    """Move `average` towards `network`, after the update of `step`, counted from 0.

    average <- momentum * average + (1 - momentum) * network, buffers included; whole numbers are copied. In the first
    steps the momentum is 1 - 1 / (step + 2), if less: the average of few networks is their mean.
    """
    share = min(1 - 1 / (step + 2), momentum)
    averages, students = average.state_dict(), network.state_dict()
    moving = [name for name, value in averages.items() if value.is_floating_point()]
    # All at once: on a GPU hundreds of launches would take longer than what they compute.
    towards = [students[name].to(averages[name].dtype) for name in moving]
    torch._foreach_lerp_([averages[name] for name in moving], towards, 1 - share)
    for name in averages.keys() - set(moving):
        averages[name].copy_(students[name])
