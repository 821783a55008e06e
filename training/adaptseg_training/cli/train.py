"""adaptseg-train: adapt a generator to an unlabelled target domain."""

import logging
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from adaptseg_serve.errors import ConfigError
from adaptseg_training.cli.common import run_command
from adaptseg_training.config import TrainConfig
from adaptseg_training.parsing import PROG, parse
from adaptseg_training.presets import preset_flags, preset_names, preset_summary

DESCRIPTION = f"""Adapt a generator to an unlabelled target domain.

  {PROG} PRESET [--main.adv-weight 5e-4 ...]    a preset below, or a YAML file of your own; flags win over it
  {PROG} --run.resume RUN                       go on with an interrupted run

Presets:"""


def main() -> NoReturn:
    run_command(PROG, train_command)


def train_command(argv: Sequence[str]) -> int:
    """Parse, then train; returns the exit code."""
    preset, config = parse_command(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from adaptseg_training.engine import train

    return train(config, preset=preset, command=shlex.join([PROG, *argv]))


def parse_command(argv: Sequence[str]) -> tuple[str, TrainConfig]:
    """The preset's name and the resolved config of a command line.

    Settings come from the preset (or the resumed run's config.yaml) and then from the flags: the last one counts.
    """
    if not argv:
        raise ConfigError(f"which preset? {PROG} PRESET, one of {', '.join(preset_names())}; or {PROG} --help.")
    preset, flags = ("", list(argv)) if argv[0].startswith("-") else (argv[0], list(argv[1:]))
    if not {"-h", "--help"}.isdisjoint(flags):
        parse(["--help"], description=_description())
    resumed = _resumed_run(flags)
    if resumed is not None:
        preset = preset or str(resumed / "config.yaml")
        flags = preset_flags(str(_config_of(resumed))) + flags
    elif preset:
        flags = preset_flags(preset) + flags
    return preset, parse(flags)


def _description() -> str:
    width = max(map(len, preset_names()))
    rows = [f"  {name:{width}}  {preset_summary(name)}" for name in preset_names()]
    return "\n".join([DESCRIPTION, *rows])


def _resumed_run(flags: Sequence[str]) -> Path | None:
    for flag, value in pairwise([*flags, ""]):
        name, equals, tail = flag.partition("=")
        if name == "--run.resume":
            return Path(tail if equals else value)
    return None


def _config_of(run: Path) -> Path:
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{run} is not a run to resume: it has no config.yaml. Runs lie in runs/ by default.")
    return path
