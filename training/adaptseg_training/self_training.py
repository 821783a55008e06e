"""Self-training with a mean teacher on class-mixed images: DACS (Tranheden et al., WACV 2021).

    target images -> teacher -> pseudo-labels
    half of the source's classes pasted on the target, pixels and labels alike -> G -> cross-entropy -> gradients of G
    teacher <- momentum * teacher + (1 - momentum) * G, after every update

It costs nothing at test time and stands beside eq. 5: with all lambda_adv 0 it adapts alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptseg_serve.labels import IGNORE_ID
from adaptseg_training.config import SelfTrainingConfig
from adaptseg_training.mixing import class_mask, jitter
from adaptseg_training.models import Generator

MainLogits = Callable[[nn.Module, Tensor], Tensor]
"""Of a generator, for (N, 3, H, W) uint8 RGB images: the main level's upsampled logits, (N, C, H, W)."""


class SelfTraining:
    """The loss of `generator` on mixed images, as `teacher` labels them, which is its moving average (averaging.py).

    `main_logits` runs a generator on images as the step does.
    """

    def __init__(
        self, config: SelfTrainingConfig, generator: Generator, teacher: Generator, main_logits: MainLogits
    ) -> None:
        self._config, self._generator, self._teacher, self._main_logits = config, generator, teacher, main_logits

    def backward(
        self, source_images: Tensor, source_labels: Tensor, target_images: Tensor, share: float
    ) -> dict[str, Tensor]:
        """Add `share` of the gradients of the loss on one mixed batch to the generator's.

        The domains' batches have one shape; the target's colours are the camera's, and only what the student sees is
        changed in them (`jitter`). Returns self/main, the raw loss, and self/confident, the share of the
        target's pixels that the teacher is sure of.
        """
        pseudo_labels, confident = self._ask_teacher(target_images)
        mask = class_mask(source_labels)
        labels = torch.where(mask, source_labels.long(), pseudo_labels)
        images = jitter(torch.where(mask.unsqueeze(1), source_images, target_images))
        weights = torch.where(mask, torch.ones_like(confident), confident)
        loss = mixed_loss(self._main_logits(self._generator, images), labels, weights)
        (self._config.weight * share * loss).backward()  # type: ignore[no-untyped-call]
        return {"self/main": loss.detach(), "self/confident": confident.mean()}

    @torch.no_grad()
    def _ask_teacher(self, target_images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W) int64 train ids and, of each image, its share of confident pixels, (N, 1, 1)."""
        probability, labels = self._main_logits(self._teacher, target_images).softmax(1).max(1)
        confident = (probability > self._config.confident).float().mean((1, 2), keepdim=True)
        return labels, confident.expand(-1, *labels.shape[1:])


def mixed_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy, each pixel by its weight, over the number of pixels: eq. 2 of DACS.

    logits: (N, C, H, W); labels: (N, H, W) int64 train ids, 255 ignored; weights: (N, H, W), 0..1. The divisor
    counts every pixel, so that unsure images count less and the mean over several processes is the mean over all.
    """
    loss = functional.cross_entropy(logits, labels, ignore_index=IGNORE_ID, reduction="none")
    return (weights * loss).mean()
