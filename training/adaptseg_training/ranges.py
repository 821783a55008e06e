"""Which numbers each setting may hold: the one table of them. Imports no torch."""

import math
from dataclasses import dataclass
from operator import attrgetter

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import NO_SIZE, DomainConfig, TrainConfig


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both of it; NaN and infinity are in none."""

    low: float
    high: float = math.inf
    below: bool = False
    """`high` itself is out."""

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high and value != (self.high if self.below else math.inf)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{self.low:g} or more"
        return f"{self.low:g} or more and below {self.high:g}" if self.below else f"from {self.low:g} to {self.high:g}"


ONE_OR_MORE, NOT_NEGATIVE = Range(1), Range(0)
SHARE, SHARE_BELOW_ONE = Range(0, 1), Range(0, 1, below=True)

RANGES = {
    "generator.resnet-layers": ONE_OR_MORE,
    "aux.seg-weight": NOT_NEGATIVE,
    "aux.adv-weight": NOT_NEGATIVE,
    "main.seg-weight": NOT_NEGATIVE,
    "main.adv-weight": NOT_NEGATIVE,
    "balance-shares": ONE_OR_MORE,
    "fourier": Range(0, 0.5),
    "self-training.weight": NOT_NEGATIVE,
    "self-training.teacher-momentum": SHARE,
    "self-training.confident": SHARE,
    "optimiser.lr": NOT_NEGATIVE,
    "optimiser.head-lr-factor": NOT_NEGATIVE,
    "optimiser.momentum": SHARE_BELOW_ONE,
    "optimiser.weight-decay": NOT_NEGATIVE,
    "optimiser.discriminator-lr": NOT_NEGATIVE,
    "optimiser.betas": SHARE_BELOW_ONE,
    "optimiser.power": NOT_NEGATIVE,
    "optimiser.schedule-steps": ONE_OR_MORE,
    "optimiser.average": SHARE_BELOW_ONE,
    "optimiser.accumulate": ONE_OR_MORE,
    "run.stop-step": ONE_OR_MORE,
    "run.batch-size": ONE_OR_MORE,
    "run.seed": NOT_NEGATIVE,
    "run.workers": NOT_NEGATIVE,
    "run.log-every": ONE_OR_MORE,
    "run.checkpoint-every": ONE_OR_MORE,
    "run.keep": ONE_OR_MORE,
    "run.preview-every": NOT_NEGATIVE,
    "run.evaluate-every": NOT_NEGATIVE,
}
OF_A_DOMAIN = {"first": NOT_NEGATIVE, "every": ONE_OR_MORE, "count": NOT_NEGATIVE, "size": Range(32)}
"""Of --source, --target, --evaluate, and --data of adaptseg-evaluate and adaptseg-data."""


def check_ranges(config: TrainConfig) -> None:
    """Raise ConfigError, naming flag, value and range, for the first number out of its range."""
    for flag, allowed in RANGES.items():
        _check(flag, attrgetter(flag.replace("-", "_"))(config), allowed)
    for name, described in (("source", config.source), ("target", config.target), ("evaluate", config.evaluate)):
        if described is not None:
            check_domain_ranges(described, name)


def check_domain_ranges(domain: DomainConfig, name: str) -> None:
    """As check_ranges, of one data set whose flags begin with `name`; only evaluate's size may be NO_SIZE."""
    for setting, allowed in OF_A_DOMAIN.items():
        if (name, setting, domain.size) != ("evaluate", "size", NO_SIZE):
            _check(f"{name}.{setting}", getattr(domain, setting), allowed)


def _check(flag: str, value: float | tuple[float, ...], allowed: Range) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(map(allowed.holds, numbers)):
        each = "each number of it" if len(numbers) > 1 else "it"
        raise ConfigError(f"--{flag} is {' '.join(map(str, numbers))}; {each} must be {allowed}.")
