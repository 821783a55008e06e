"""The losses of eq. 1 to 5, and of least squares, eq. 7 and 8; the only home of the domain labels.

All take raw logits or scores and compute in float32 or wider, under autocast too.
"""

import torch
from torch import Tensor
from torch.nn import functional

from adaptseg_serve.labels import IGNORE_ID
from adaptseg_training.config import Gan
from adaptseg_training.models.upsample import at_least_float32

SOURCE = 0.0
"""Domain label z of the source in the discriminators' loss."""
TARGET = 1.0
"""Domain label z of the target."""


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 1 and 3: mean cross-entropy over the pixels that have a train id; 0 if none has.

    logits: (N, C, H, W) float at the labels' size; labels: (N, H, W) train ids, any integer dtype, 255 ignored.
    """
    labels = labels.long()
    # reduction "none", then a sum: deterministic on CUDA, and free of 0 / 0 where everything is ignored.
    loss = functional.cross_entropy(at_least_float32(logits), labels, ignore_index=IGNORE_ID, reduction="none")
    return loss.sum() / (labels != IGNORE_ID).sum().clamp(min=1)


def domain_loss(gan: Gan, scores: Tensor, domain: float, weights: Tensor | None = None) -> Tensor:
    """How far D's raw scores, any shape, are from saying `domain`: a mean, vanilla eq. 2, ls eq. 8.

    weights, of the scores' shape: how much each counts; they are taken to be 1 on average.
    """
    scores = at_least_float32(scores)
    wanted = torch.full_like(scores, domain)
    match gan:
        case "vanilla":
            return functional.binary_cross_entropy_with_logits(scores, wanted, weights)
        case "ls":
            loss = functional.mse_loss(scores, wanted, reduction="none")
            return (loss if weights is None else weights * loss).mean()


def adversarial_loss(gan: Gan, target_scores: Tensor) -> Tensor:
    """Eq. 4 (vanilla) and 7 (ls): small when D takes the target for the source."""
    return domain_loss(gan, target_scores, SOURCE)


def discriminator_loss(gan: Gan, scores: Tensor, domain: float, weights: Tensor | None = None) -> Tensor:
    """One domain's half of eq. 2 (vanilla) or 8 (ls). Halved, as in the reference code; the paper doesn't."""
    return domain_loss(gan, scores, domain, weights) / 2


def discriminator_accuracy(gan: Gan, scores: Tensor, domain: float) -> Tensor:
    """Share, 0..1, of the patches that D assigns to the right domain; 0.5 over both domains means it is fooled."""
    threshold = 0.0 if gan == "vanilla" else (SOURCE + TARGET) / 2
    return ((scores > threshold) == (domain == TARGET)).float().mean()
