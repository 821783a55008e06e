"""argv -> TrainConfig and back: the one parser of flags, presets and saved configs. Imports no torch."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tyro

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import find_label_set
from adaptseg_training.config import NO_SIZE, DomainConfig, TrainConfig
from adaptseg_training.presets import to_flags
from adaptseg_training.ranges import check_ranges

PROG = "adaptseg-train"


def parse(argv: Sequence[str], description: str = "") -> TrainConfig:
    """The config that `argv` describes. Wrong flags are explained and end the process with exit code 2."""
    config = tyro.cli(
        TrainConfig,
        prog=PROG,
        description=description,
        args=list(argv),
        default=_default(argv),
        config=(tyro.conf.AvoidSubcommands,),
    )
    check(config)
    return config


def _default(argv: Sequence[str]) -> TrainConfig:
    """`target` and `evaluate` exist as soon as one of their flags is given; --help shows both."""
    flags = [a.lstrip("-") for a in argv if a.startswith("--")]  # values may look like flags: target.pth
    everything = not {"-h", "--help"}.isdisjoint(argv)

    def domain(name: str, size: tuple[int, int] = DomainConfig.size) -> DomainConfig | None:
        return DomainConfig(size=size) if everything or any(f.startswith(f"{name}.") for f in flags) else None

    return replace(TrainConfig(), target=domain("target"), evaluate=domain("evaluate", NO_SIZE))


def from_settings(settings: dict[str, Any], origin: Path) -> TrainConfig:
    """The config saved as `settings` (see `to_settings`) in file `origin`."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return parse(to_flags(settings))
    except SystemExit as error:
        raise ConfigError(f"{origin}: its config does not fit this release:\n{said.getvalue()}") from error


def to_settings(config: TrainConfig) -> dict[str, Any]:
    """`config` as plain YAML and JSON values: a preset that says everything."""
    plain: dict[str, Any] = _plain(asdict(config))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def check(config: TrainConfig) -> None:
    """Raise ConfigError, naming the flag, for values that no run can have."""
    check_ranges(config)
    _require(
        config.run.stop_step <= config.optimiser.schedule_steps,
        f"--run.stop-step {config.run.stop_step} lies behind the end of the learning-rate schedule; "
        f"raise --optimiser.schedule-steps ({config.optimiser.schedule_steps}).",
    )
    _require(
        config.optimiser.algorithm == "sgd" or config.optimiser.param_groups == "dedup",
        "--optimiser.param-groups legacy repeats what the reference code's SGD did; it has no AdamW.",
    )
    _require(
        config.run.select == "miou" or config.target is not None,
        "--run.select infomax is taken on the target; say which with --target.dataset and --target.root.",
    )
    _require(
        config.optimiser.momentum > 0 or not config.optimiser.nesterov,
        "--optimiser.nesterov looks ahead along the momentum, and --optimiser.momentum is 0. Leave one of them out.",
    )
    try:
        find_label_set(config.label_set)
    except ValueError as error:
        raise ConfigError(f"--label-set: {error}.") from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
