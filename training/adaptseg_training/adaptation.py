"""One step of multi-level adversarial adaptation (eq. 5), from top to bottom.

    source images -> G -> upsampled logits of each level -> cross-entropy -> gradients of G          (eq. 1, 3)
    target images -> G -> upsampled probs of each level  -> D -> "looks like source?" -> gradients of G   (eq. 4, 7)
    the same target scores, and D of the detached source probs -> "which domain?"  -> gradients of D   (eq. 2, 8)

G is updated by the first two, each D by the third. Source batches never see the adversarial loss.

Around it stand optional pieces of their own: source images may be restyled first (fourier.py), source patches weighed
so that D doesn't teach the source's class shares (class_shares.py), and self-training (self_training.py) adds a loss on
mixed images.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from adaptseg_training.averaging import Average
from adaptseg_training.batch import Batch
from adaptseg_training.class_shares import ClassShares
from adaptseg_training.config import TrainConfig
from adaptseg_training.fourier import swap_amplitudes
from adaptseg_training.levels import Level, active_levels, check_adaptation
from adaptseg_training.losses import (
    SOURCE,
    TARGET,
    adversarial_loss,
    discriminator_accuracy,
    discriminator_loss,
    segmentation_loss,
)
from adaptseg_training.models import (
    Discriminator,
    Generator,
    Logits,
    Normalise,
    build_generator,
    preprocess_spec,
    upsample,
)
from adaptseg_training.optim import discriminator_optimiser, generator_optimiser, poly, set_lr
from adaptseg_training.precision import autocast
from adaptseg_training.self_training import SelfTraining
from adaptseg_training.spaces import discriminator_channels, discriminator_input
from adaptseg_training.world import World

_LAYOUT = torch.channels_last

Losses = dict[str, Tensor]
"""Scalars by name, detached: seg/L, adv/L, disc_source/L, disc_target/L, disc_accuracy/L for each level L; shares/*,
self/*.

Raw: before the weights of eq. 5. disc_* are the unhalved domain losses."""


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
        check_adaptation(config)
        self.config = config
        self.world = world or World()
        self.whole = True
        """False if an update broke off in the middle: some weights are a step ahead of the others."""
        self.levels = active_levels(config) if levels is None else tuple(levels)
        with_aux = any(level.name == "aux" for level in self.levels)
        self.normalise: nn.Module = Normalise(preprocess_spec(config.generator, config.source.size)).to(device)
        # channels_last: the layout of tensor cores; on the CPU as fast as the usual one (docs/log.md, 2026-11-27).
        generator = config.generator if initial else replace(config.generator, weights="none")
        self.generator = build_generator(generator, classes, with_aux).to(device).to(memory_format=_LAYOUT)
        self.discriminators = self._discriminators(classes).to(device).to(memory_format=_LAYOUT)
        self.class_shares = self._class_shares(classes, device)
        self.average = self._average()
        self.self_training = self._self_training()
        self.generator_optimiser = generator_optimiser(self.generator, config.optimiser)
        self.discriminator_optimisers = {
            name: discriminator_optimiser(d, config.optimiser) for name, d in self.discriminators.items()
        }

    def _discriminators(self, classes: int) -> nn.ModuleDict:
        channels = self.generator.feature_channels
        return nn.ModuleDict(
            {
                level.name: Discriminator(discriminator_channels(level.space, classes, channels[level.name]))
                for level in self.levels
                if level.adapts
            }
        )

    def _class_shares(self, classes: int, device: torch.device) -> ClassShares | None:
        limit = self.config.balance_shares
        return ClassShares(classes, limit, device, self.world) if limit > 1 and len(self.discriminators) > 0 else None

    def _average(self) -> Average | None:
        """Self-training's teacher is one, too; `check_adaptation` refuses to have both."""
        teaches = self.config.self_training.weight > 0
        momentum = self.config.self_training.teacher_momentum if teaches else self.config.optimiser.average
        return Average(self.generator, momentum) if teaches or momentum > 0 else None

    def _self_training(self) -> SelfTraining | None:
        config = self.config.self_training
        if config.weight == 0:
            return None
        return SelfTraining(config, self.generator, self.deployed, lambda g, images: self._upsampled(g, images)["main"])

    @property
    def deployed(self) -> Generator:
        """What is evaluated, saved as the checkpoint's generator, and exported: the average, if there is one."""
        return self.generator if self.average is None else self.average.generator

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
        if self.average is not None:
            self.average.follow(step)
        self.whole = True
        return dict(zip(names, table.mean(0).tolist(), strict=True)) | {"lr": self.config.optimiser.lr * share}

    def backward(self, batch: Batch, share: float = 1.0) -> Losses:
        """Add `share` of the gradients of one batch to everything's."""
        losses: Losses = {}
        batch = self._restyled(batch)
        source_inputs = self._source(batch, share, losses)
        if batch.target_images is not None and len(self.discriminators) > 0:
            logits = self._target(batch.target_images, share, losses)
            if self.class_shares is not None:
                losses |= self.class_shares.follow(batch.source_labels, logits)
            self._discriminate_source(source_inputs, batch.source_labels, share, losses)
        if (natural := batch.natural_target) is not None and self.self_training is not None:
            losses |= self.self_training.backward(batch.source_images, batch.source_labels, natural, share)
        return losses

    def _restyled(self, batch: Batch) -> Batch:
        if self.config.fourier == 0 or (natural := batch.natural_target) is None:
            return batch
        images = swap_amplitudes(batch.source_images, natural, self.config.fourier)
        return replace(batch, source_images=images)

    def _source(self, batch: Batch, share: float, losses: Losses) -> dict[str, Tensor]:
        """Eq. 1: the segmentation loss to G. Returns what each D is to see of it, detached."""
        seen = self._run(self.generator, batch.source_images)
        size = _size(batch.source_images)
        total = torch.zeros((), device=batch.source_images.device)
        for level in self.levels:
            loss = batch.weight * segmentation_loss(upsample(seen.of(level.name), size), batch.source_labels)
            losses[f"seg/{level.name}"] = loss.detach()
            total = total + level.seg_weight * loss
        (total * share).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            return {level.name: _input(seen, level, size).detach() for level in self._adapting}

    def _target(self, images: Tensor, share: float, losses: Losses) -> Tensor:
        """Eq. 4 (or 7) to G, and the target's half of eq. 2 (or 8) to D. Returns the main level's logits, detached."""
        seen = self._run(self.generator, images)
        inputs = [_input(seen, level, _size(images)) for level in self._adapting]
        pairs = zip(self._adapting, inputs, strict=True)
        gradients = [self._discriminate_target(level, x, share, losses) for level, x in pairs]
        torch.autograd.backward(inputs, gradients)
        return seen.main.detach()

    def _discriminate_target(self, level: Level, inputs: Tensor, share: float, losses: Losses) -> Tensor:
        """From one forward pass of D: the adversarial gradient of `inputs`, returned, and D's own, accumulated.

        Both losses read the same scores of the same D, so D's graph is walked twice: once down to the inputs only,
        once to D's parameters only. The gradients are bit for bit those of two forward passes.
        """
        discriminator, gan = self.discriminators[level.name], self.config.gan
        scores = self._scores(level.name, inputs)
        adversarial = adversarial_loss(gan, scores)
        (gradient,) = torch.autograd.grad(level.adv_weight * share * adversarial, inputs, retain_graph=True)
        loss = discriminator_loss(gan, scores, TARGET)
        (loss * share).backward(inputs=list(discriminator.parameters()))  # type: ignore[no-untyped-call]
        losses[f"adv/{level.name}"] = adversarial.detach()
        losses[f"disc_target/{level.name}"] = 2 * loss.detach()
        losses[f"disc_accuracy/{level.name}"] = discriminator_accuracy(gan, scores, TARGET) / 2
        return gradient

    def _discriminate_source(self, inputs: dict[str, Tensor], labels: Tensor, share: float, losses: Losses) -> None:
        """The source's half of eq. 2 to D, on detached inputs of images with `labels`."""
        gan = self.config.gan
        for name, seen in inputs.items():
            scores = self._scores(name, seen)
            weights = None if self.class_shares is None else self.class_shares.weights(labels, _size(scores))
            loss = discriminator_loss(gan, scores, SOURCE, weights)
            (loss * share).backward()  # type: ignore[no-untyped-call]
            losses[f"disc_source/{name}"] = 2 * loss.detach()
            losses[f"disc_accuracy/{name}"] += discriminator_accuracy(gan, scores, SOURCE) / 2

    def _upsampled(self, generator: nn.Module, images: Tensor) -> dict[str, Tensor]:
        seen = self._run(generator, images)
        return {level.name: upsample(seen.of(level.name), _size(images)) for level in self.levels}

    def _run(self, generator: nn.Module, images: Tensor) -> Logits:
        with autocast(self.config.run.precision, images.device):
            seen: Logits = generator(self.normalise(images))
        return seen

    @property
    def _adapting(self) -> list[Level]:
        return [level for level in self.levels if level.adapts]

    def _scores(self, name: str, inputs: Tensor) -> Tensor:
        with autocast(self.config.run.precision, inputs.device):
            scores: Tensor = self.discriminators[name](inputs)
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
            "generator": self.deployed.state_dict(),
            "class_shares": {} if self.class_shares is None else self.class_shares.state_dict(),
            "averaged": {} if self.average is None else self.generator.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "generator_optimiser": self.generator_optimiser.state_dict(),
            "discriminator_optimisers": {n: o.state_dict() for n, o in self.discriminator_optimisers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, into an Adaptation of the same config or of what `check_kept` allows."""
        self.deployed.load_state_dict(state["generator"])
        # A run may be resumed with shares balanced that was begun without, and the other way round.
        if self.class_shares is not None and state.get("class_shares"):
            self.class_shares.load_state_dict(state["class_shares"])
        if self.average is not None:  # It may begin on the way, as a copy.
            self.generator.load_state_dict(state["averaged"] or state["generator"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.generator_optimiser.load_state_dict(state["generator_optimiser"])
        for name, optimiser in self.discriminator_optimisers.items():
            optimiser.load_state_dict(state["discriminator_optimisers"][name])


def _input(seen: Logits, level: Level, size: tuple[int, int]) -> Tensor:
    """What the level's discriminator sees."""
    return discriminator_input(level.space, seen.of(level.name), seen.features_of(level.name), size)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _table(losses: Sequence[Losses]) -> Tensor:
    """(batches, losses) float64: one copy from the device for all of them, not one for each."""
    return torch.stack([torch.stack([each[name] for name in losses[0]]) for each in losses]).cpu().double()
