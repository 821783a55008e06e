"""The output levels that eq. 5 sums over."""

from dataclasses import dataclass, replace
from typing import Literal

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import LevelConfig, Space, TrainConfig
from adaptseg_training.models.discriminator import MIN_SIDE
from adaptseg_training.models.features import OUTPUT_STRIDE

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
    space: Space = "output"
    """What its discriminator sees."""


def active_levels(config: TrainConfig) -> tuple[Level, ...]:
    """The levels that change anything: main always, aux if it has a weight; each adapts if its adv_weight isn't 0."""
    aux, main = _levels(config)
    return (aux, main) if aux.seg_weight or aux.adv_weight else (main,)


def uses_target(config: TrainConfig) -> bool:
    """Does training see target images at all?"""
    adapts = any(level.adapts for level in active_levels(config))
    return config.target is not None and (adapts or config.fourier > 0 or config.self_training.weight > 0)


def check_adaptation(config: TrainConfig) -> None:
    """ConfigError where a way of adapting can't do with these domains."""
    for flag, used in (
        ("fourier", config.fourier > 0),
        ("balance-shares", config.balance_shares > 1),
        ("self-training.weight", config.self_training.weight > 0),
    ):
        if used and config.target is None:
            raise ConfigError(f"--{flag} adapts to target images, and there is no target. Set --target.dataset.")
    adapting = [level for level in active_levels(config) if level.adapts]
    if config.balance_shares > 1 and not adapting:
        raise ConfigError(
            "--balance-shares weighs a discriminator's loss, and no level has one. Set --main.adv-weight."
        )
    for level in adapting:
        if config.balance_shares > 1 and level.space == "feature":
            raise ConfigError(
                f"--balance-shares with --{level.name}.space feature: that discriminator's patches are as large as the "
                "image, and an image's class shares can't be chosen. Leave one of the two out."
            )
    if config.self_training.weight > 0 and config.target is not None and config.source.size != config.target.size:
        raise ConfigError(
            f"self-training mixes images of one size; --source.size is {config.source.size}, "
            f"--target.size {config.target.size}. Make them equal."
        )
    if config.optimiser.average > 0 and config.self_training.weight > 0:
        raise ConfigError("--optimiser.average beside self-training: its teacher is an average already. Set one to 0.")
    for level in active_levels(config):
        side = min(config.source.size + (config.source if config.target is None else config.target).size)
        if level.adapts and level.space == "feature" and side < OUTPUT_STRIDE * MIN_SIDE:
            raise ConfigError(
                f"--{level.name}.space feature: the discriminator needs {MIN_SIDE} x {MIN_SIDE} features, an eighth of "
                f"the image; make --source.size and --target.size at least {OUTPUT_STRIDE * MIN_SIDE} both ways."
            )


def reference_levels(config: TrainConfig) -> tuple[Level, ...]:
    """Both levels and both discriminators whatever their weights, as the reference code runs them.

    A weight of 0 then isn't nothing: weight decay shrinks the idle head, the idle discriminator learns, and the
    target forward of a source-only run moves batch-norm statistics.
    """
    return tuple(replace(level, adapts=True) for level in _levels(config))


def _levels(config: TrainConfig) -> tuple[Level, Level]:
    return _level("aux", config.aux), _level("main", config.main)


def _level(name: LevelName, config: LevelConfig) -> Level:
    return Level(name, config.seg_weight, config.adv_weight, config.adv_weight != 0, config.space)
