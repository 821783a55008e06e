"""The data of a run: opened once, then batches by step, pictures for previews, labelled images for scores."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import translation
from adaptseg_training.batch import Batch
from adaptseg_training.checkpoint import model_size
from adaptseg_training.config import DomainConfig, TrainConfig
from adaptseg_training.data.domains import open_domain, to_score
from adaptseg_training.data.loading import SampleStream, batches
from adaptseg_training.data.prepare import Pair, Preparer, label_table
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.errors import DataError
from adaptseg_training.levels import uses_target
from adaptseg_training.models.generator import preprocess_spec
from adaptseg_training.world import World

TARGET_SEED = 1_000_003
"""Keeps the target's shuffling and augmentation apart from the source's."""


@dataclass(frozen=True)
class Domains:
    """The opened data sets of a config."""

    source: ImageSet
    target: ImageSet | None
    evaluate: ImageSet | None

    def describe(self, config: TrainConfig) -> str:
        """One line for the screen: which data, how many images."""
        named = (("source", self.source), ("target", self.target), ("evaluate", self.evaluate))
        line = ", ".join(f"{name}: {len(images)} images" for name, images in named if images is not None)
        if config.evaluate is not None and is_nowhere(config.evaluate):
            line += "; nothing is scored (--evaluate.root is not given)"
        idle = self.target is not None and not uses_target(config)
        return f"{line}; nothing learns from the target (its weights are 0): only previews show it" if idle else line


def open_domains(config: TrainConfig) -> Domains:
    """Open every data set that `config` names; ConfigError says which flag is wrong.

    That includes what is needed of their labels: a run must not find out at its first evaluation.
    """
    source = open_domain(config.source, "source")
    label_table(source, config.label_set, "source")
    target = None if config.target is None else open_domain(config.target, "target")
    evaluate = None
    if (scored := scored_domain(config)) is not None:
        evaluate = open_domain(scored, "evaluate")
        _check_scored(evaluate, config.label_set)
    return Domains(source, target, evaluate)


def _check_scored(images: ImageSet, label_set: str) -> None:
    """ConfigError unless predictions of `label_set` can be scored on `images`."""
    if images.label_set is None:
        raise ConfigError("--evaluate.dataset has no labels to score on; choose a labelled data set or split.")
    try:
        translation(label_set, images.label_set)
    except ValueError as error:
        raise ConfigError(f"--evaluate.dataset: {error}.") from error


def scored_domain(config: TrainConfig) -> DomainConfig | None:
    """`evaluate` as it comes down: val, a few streets and not all; at the size that the network is asked at.

    None where a data set is named, as presets do, but not where it lies: not everybody has the target's labels.
    """
    if config.evaluate is None or is_nowhere(config.evaluate):
        return None
    return replace(to_score(config.evaluate), size=model_size(config))


def is_nowhere(domain: DomainConfig) -> bool:
    """Is `domain` of files, and nobody said where they are?"""
    return domain.dataset != "streets" and not domain.root


def step_batches(
    config: TrainConfig,
    domains: Domains,
    start: int,
    pin: bool,
    skipped: Callable[[DataError], None],
    world: World | None = None,
) -> Iterator[list[Batch]]:
    """The batches of step `start`, of the next one, and so on: `optimiser.accumulate` of them a step, on the CPU.

    Each rank of `world` gets its part of the very batches that one process would get whole. `skipped` hears of
    unreadable samples of the domains whose skip_unreadable is set.
    """
    first = start * config.optimiser.accumulate
    part = (world or World()).slice(config.run.batch_size)
    sources = _pairs(config, config.source, domains.source, "source", first, pin, skipped, part)
    targets = None
    if config.target is not None and domains.target is not None and uses_target(config):
        targets = _pairs(config, config.target, domains.target, "target", first, pin, skipped, part)
    while True:
        yield [
            Batch(*next(sources), *(_target(next(targets)) if targets is not None else ()))
            for _ in range(config.optimiser.accumulate)
        ]


def _target(pair: Pair) -> tuple[Tensor, Tensor | None]:
    """The images, and where they were wanted, the same as the camera saw them."""
    images, seen = pair
    return images, seen if seen.numel() else None


def _pairs(
    config: TrainConfig,
    domain: DomainConfig,
    images: ImageSet,
    name: str,
    first: int,
    pin: bool,
    skipped: Callable[[DataError], None],
    part: range,
) -> Iterator[Pair]:
    labelled = name == "source"
    preparer = Preparer(
        spec=preprocess_spec(config.generator, domain.size),
        augmented=domain.augment,
        train_ids=label_table(images, config.label_set, name) if labelled else None,
        natural=config.fourier > 0 or config.self_training.weight > 0,
    )
    seed = config.run.seed + (0 if labelled else TARGET_SEED)
    stream = SampleStream(images, preparer, seed, domain.skip_unreadable)
    return batches(stream, first, config.run.batch_size, config.run.workers, pin, skipped, part)
