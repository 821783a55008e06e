"""One step of multi-level adversarial adaptation (eq. 5), from top to bottom.

    source images -> G -> upsampled logits of each level -> cross-entropy -> gradients of G          (eq. 1, 3)
    target images -> G -> upsampled probs of each level  -> D -> "looks like source?" -> gradients of G   (eq. 4, 7)
    the same target scores, and D of the detached source probs -> "which domain?"  -> gradients of D   (eq. 2, 8)

G is updated by the first two, each D by the third. Source batches never see the adversarial loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from adaptseg_training.config import TrainConfig
from adaptseg_training.levels import Level, active_levels
from adaptseg_training.losses import (
    SOURCE,
    TARGET,
    adversarial_loss,
    discriminator_accuracy,
    discriminator_loss,
    segmentation_loss,
)
from adaptseg_training.models import Discriminator, Normalise, build_generator, preprocess_spec, upsample
from adaptseg_training.optim import discriminator_optimiser, generator_optimiser, poly, set_lr
from adaptseg_training.precision import autocast
from adaptseg_training.world import World

_LAYOUT = torch.channels_last

Losses = dict[str, Tensor]
"""Scalars by name, detached: seg/L, adv/L, disc_source/L, disc_target/L, disc_accuracy/L for each level L.

Raw: before the weights of eq. 5. disc_* are the unhalved domain losses."""


@dataclass(frozen=True)
class Batch:
    """One batch of each domain; the sizes of the domains may differ."""

    source_images: Tensor
    """(N, 3, H, W) uint8 RGB, 0..255."""
    source_labels: Tensor
    """(N, H, W) uint8 or int64 train ids, 255 ignored."""
    target_images: Tensor | None = None
    """(M, 3, H', W') uint8 RGB; None trains on the source alone."""
    weight: float = 1.0
    """Labelled pixels of this batch over their mean across the ranks: with it the mean of the ranks' segmentation
    losses, each a mean over its own pixels, is the mean over the pixels of all (see World)."""

    def to(self, device: torch.device) -> "Batch":
        """A copy on `device`; asynchronous from pinned memory."""
        target = self.target_images
        return Batch(
            self.source_images.to(device, non_blocking=True),
            self.source_labels.to(device, non_blocking=True),
            None if target is None else target.to(device, non_blocking=True),
            self.weight,
        )


class Adaptation:
    """The generator, a discriminator for each adapting level, their optimisers, and the step that trains them.

    `levels` is what eq. 5 sums over; by default the levels whose weights aren't all zero. `normalise` stands
    between a batch's images and the generator. In a `world` of several processes each calls `step` with its own
    batches, and every update is that of all batches together. `initial` False leaves out the pretrained weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        classes: int,
        device: torch.device,
        levels: Sequence[Level] | None = None,
        world: World | None = None,
        initial: bool = True,
    ) -> None:
        self.config = config
        self.world = world or World()
        self.whole = True
        """False if an update broke off in the middle: some weights are a step ahead of the others."""
        self.levels = active_levels(config) if levels is None else tuple(levels)
        with_aux = any(level.name == "aux" for level in self.levels)
        self.normalise: nn.Module = Normalise(preprocess_spec(config.generator, config.source.size)).to(device)
        # channels_last: on the CPU a step of lite0 takes half the time, with the same losses to 1e-4 (docs/log.md).
        generator = config.generator if initial else replace(config.generator, weights="none")
        self.generator = build_generator(generator, classes, with_aux).to(device).to(memory_format=_LAYOUT)
        self.discriminators = (
            nn.ModuleDict({level.name: Discriminator(classes) for level in self.levels if level.adapts})
            .to(device)
            .to(memory_format=_LAYOUT)
        )
        self.generator_optimiser = generator_optimiser(self.generator, config.optimiser)
        self.discriminator_optimisers = {
            name: discriminator_optimiser(d, config.optimiser) for name, d in self.discriminators.items()
        }

    def step(self, step: int, batches: Sequence[Batch]) -> dict[str, float]:
        """One update of everything from the mean gradient of `batches` (as many as optimiser.accumulate).

        `step` counts from 0 and sets the learning rates. Returns the Losses' means over the batches, and "lr".
        """
        optimisers = [self.generator_optimiser, *self.discriminator_optimisers.values()]
        share = poly(step, self.config.optimiser)
        for optimiser in optimisers:
            set_lr(optimiser, share)
            optimiser.zero_grad()
        losses = [self.backward(batch, 1 / len(batches)) for batch in batches]
        names, table = list(losses[0]), _table(losses)
        self.world.average([*self._gradients(), *self.moving_statistics(), table])
        self.whole = False
        for optimiser in optimisers:
            optimiser.step()
        self.whole = True
        return dict(zip(names, table.mean(0).tolist(), strict=True)) | {"lr": self.config.optimiser.lr * share}

    def backward(self, batch: Batch, share: float = 1.0) -> Losses:
        """Add `share` of the gradients of one batch to everything's."""
        losses: Losses = {}
        source_probs = self._source(batch, share, losses)
        if batch.target_images is not None and len(self.discriminators) > 0:
            self._target(batch.target_images, share, losses)
            self._discriminate_source(source_probs, share, losses)
        return losses

    def _source(self, batch: Batch, share: float, losses: Losses) -> dict[str, Tensor]:
        """Eq. 1: the segmentation loss to G. Returns each level's probs, detached, for D."""
        logits = self.logits(batch.source_images)
        total = torch.zeros((), device=batch.source_images.device)
        for level in self.levels:
            loss = batch.weight * segmentation_loss(logits[level.name], batch.source_labels)
            losses[f"seg/{level.name}"] = loss.detach()
            total = total + level.seg_weight * loss
        (total * share).backward()  # type: ignore[no-untyped-call]
        return {name: logits[name].detach().softmax(1) for name in self.discriminators}

    def _target(self, images: Tensor, share: float, losses: Losses) -> None:
        """Eq. 4 (or 7) to G, and the target's half of eq. 2 (or 8) to D."""
        logits = self.logits(images)
        adapting = [level for level in self.levels if level.adapts]
        probs = [logits[level.name].softmax(1) for level in adapting]
        pairs = zip(adapting, probs, strict=True)
        gradients = [self._discriminate_target(level, p, share, losses) for level, p in pairs]
        torch.autograd.backward(probs, gradients)

    def _discriminate_target(self, level: Level, probs: Tensor, share: float, losses: Losses) -> Tensor:
        """From one forward pass of D: the adversarial gradient of `probs`, returned, and D's own, accumulated.

        Both losses read the same scores of the same D, so D's graph is walked twice: once down to the probs only,
        once to D's parameters only. The gradients are bit for bit those of two forward passes.
        """
        discriminator, gan = self.discriminators[level.name], self.config.gan
        scores = self._scores(level.name, probs)
        adversarial = adversarial_loss(gan, scores)
        (gradient,) = torch.autograd.grad(level.adv_weight * share * adversarial, probs, retain_graph=True)
        loss = discriminator_loss(gan, scores, TARGET)
        (loss * share).backward(inputs=list(discriminator.parameters()))  # type: ignore[no-untyped-call]
        losses[f"adv/{level.name}"] = adversarial.detach()
        losses[f"disc_target/{level.name}"] = 2 * loss.detach()
        losses[f"disc_accuracy/{level.name}"] = discriminator_accuracy(gan, scores, TARGET) / 2
        return gradient

    def _discriminate_source(self, source_probs: dict[str, Tensor], share: float, losses: Losses) -> None:
        """The source's half of eq. 2 to D, on detached probs."""
        gan = self.config.gan
        for name, probs in source_probs.items():
            scores = self._scores(name, probs)
            loss = discriminator_loss(gan, scores, SOURCE)
            (loss * share).backward()  # type: ignore[no-untyped-call]
            losses[f"disc_source/{name}"] = 2 * loss.detach()
            losses[f"disc_accuracy/{name}"] += discriminator_accuracy(gan, scores, SOURCE) / 2

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) uint8 RGB -> logits by level, (N, classes, H, W) float, upsampled."""
        height, width = images.shape[-2:]
        with autocast(self.config.run.precision, images.device):
            logits = self.generator(self.normalise(images))._asdict()
        return {level.name: upsample(logits[level.name], (height, width)) for level in self.levels}

    def _scores(self, name: str, probs: Tensor) -> Tensor:
        with autocast(self.config.run.precision, probs.device):
            scores: Tensor = self.discriminators[name](probs)
        return scores

    def moving_statistics(self) -> list[Tensor]:
        """Batch norm's running means and variances, where they follow the batches; each rank normalises by its own."""
        frozen = self.config.generator.bn == "frozen"
        return [] if frozen else [b for b in self.generator.buffers() if b.is_floating_point()]

    def _gradients(self) -> list[Tensor]:
        parameters = (*self.generator.parameters(), *self.discriminators.parameters())
        return [p.grad for p in parameters if p.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs of this object: tensors and plain numbers."""
        return {
            "generator": self.generator.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "generator_optimiser": self.generator_optimiser.state_dict(),
            "discriminator_optimisers": {n: o.state_dict() for n, o in self.discriminator_optimisers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, into an Adaptation of the same config."""
        self.generator.load_state_dict(state["generator"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.generator_optimiser.load_state_dict(state["generator_optimiser"])
        for name, optimiser in self.discriminator_optimisers.items():
            optimiser.load_state_dict(state["discriminator_optimisers"][name])


def _table(losses: Sequence[Losses]) -> Tensor:
    """(batches, losses) float64: one copy from the device for all of them, not one for each."""
    return torch.stack([torch.stack([each[name] for name in losses[0]]) for each in losses]).double()
