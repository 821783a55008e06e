"""The output levels that eq. 5 sums over."""

from dataclasses import dataclass
from typing import Literal

from adaptseg_training.config import TrainConfig

LevelName = Literal["aux", "main"]


@dataclass(frozen=True)
class Level:
    """One output level, at work."""

    name: LevelName
    seg_weight: float
    """lambda_seg."""
    adv_weight: float
    """lambda_adv."""
    adapts: bool
    """Has a discriminator, and sees target batches."""


def active_levels(config: TrainConfig) -> tuple[Level, ...]:
    """The levels that change anything: main always, aux if it has a weight; each adapts if its adv_weight isn't 0."""
    aux, main = _levels(config)
    return (aux, main) if aux.seg_weight or aux.adv_weight else (main,)


def uses_target(config: TrainConfig) -> bool:
    """Does training see target images at all?"""
    return config.target is not None and any(level.adapts for level in active_levels(config))


def reference_levels(config: TrainConfig) -> tuple[Level, ...]:
    """Both levels and both discriminators whatever their weights, as the reference code runs them.

    A weight of 0 then isn't nothing: weight decay shrinks the idle head, the idle discriminator learns, and the
    target forward of a source-only run moves batch-norm statistics.
    """
    return tuple(Level(level.name, level.seg_weight, level.adv_weight, adapts=True) for level in _levels(config))


def _levels(config: TrainConfig) -> tuple[Level, Level]:
    return (
        Level("aux", config.aux.seg_weight, config.aux.adv_weight, config.aux.adv_weight != 0),
        Level("main", config.main.seg_weight, config.main.adv_weight, config.main.adv_weight != 0),
    )
