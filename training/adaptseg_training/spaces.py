"""What a level's discriminator looks at: the paper's output space, and the two spaces it is compared with."""

import math

from torch import Tensor

from adaptseg_training.config import Space
from adaptseg_training.models.upsample import at_least_float32, upsample


def discriminator_input(space: Space, logits: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
    """The input of D, float32 or wider, differentiable.

    logits: (N, C, h, w), not upsampled; features: (N, F, h, w), the input of the head that gave them;
    size: (height, width) of the images.
    output: (N, C, height, width) probs (section 3.2). feature: `features` (Table 1's feature-level adaptation).
    entropy: (N, C, height, width) weighted self-information -p log p / log C, 0..1 (Vu et al., ADVENT, 2019, eq. 6).
    """
    match space:
        case "feature":
            return at_least_float32(features)
        case "output":
            return upsample(logits, size).softmax(1)
        case "entropy":
            log_probs = upsample(logits, size).log_softmax(1)
            return -log_probs.exp() * log_probs / math.log(log_probs.shape[1])


def discriminator_channels(space: Space, classes: int, feature_channels: int) -> int:
    """How many channels `discriminator_input` has."""
    return feature_channels if space == "feature" else classes
