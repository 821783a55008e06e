"""adaptseg-train: adapt a generator to an unlabelled target domain."""

import logging
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from adaptseg_serve.errors import ConfigError
from adaptseg_training.cli.common import run_command
from adaptseg_training.cli.train_help import preset_list, short_help
from adaptseg_training.config import DomainConfig, TrainConfig
from adaptseg_training.parsing import PROG, parse
from adaptseg_training.presets import preset_flags

_DRY_RUN, _PRESETS, _SWEEP = "--dry-run", "--presets", "--sweep"


def main() -> NoReturn:
    run_command(PROG, train_command)


def train_command(argv: Sequence[str]) -> int:
    """Parse, then train, sweep or tell what training would do; returns the exit code."""
    if _PRESETS in argv:
        print(preset_list())
        return 0
    words, sweeps = take_sweeps([word for word in argv if word != _DRY_RUN])
    preset, config = parse_command(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if sweeps or _DRY_RUN in argv:
        _check_alone(_SWEEP if sweeps else _DRY_RUN)
    if sweeps:
        from adaptseg_training.sweep import run_sweep

        return run_sweep(words, sweeps, parse_command, dry=_DRY_RUN in argv)
    if _DRY_RUN in argv:
        from adaptseg_training.dry_run import dry_run

        return dry_run(config, preset)
    from adaptseg_training.engine import train

    return train(config, preset=preset, command=shlex.join([PROG, *argv]))


def parse_command(argv: Sequence[str]) -> tuple[str, TrainConfig]:
    """The preset's name and the resolved config of a command line.

    Settings come from the preset (or the resumed run's config.yaml) and then from the flags: the last one counts.
    """
    if not argv:
        raise ConfigError(f"which preset? {PROG} PRESET; {PROG} --presets lists them, {PROG} --help explains.")
    preset, flags = ("", list(argv)) if argv[0].startswith("-") else (argv[0], list(argv[1:]))
    if not {"-h", "--help", "--help-all"}.isdisjoint(flags):
        _help(preset, whole="--help-all" in flags)
    resumed = _resumed_run(flags)
    if resumed is not None:
        flags = preset_flags(str(_config_of(resumed))) + flags
        preset = _own_preset(resumed, preset)
    elif preset:
        own = preset_flags(preset)
        flags = own + _reset(own, flags) + flags
    return preset, parse(flags)


def _check_alone(flag: str) -> None:
    """ConfigError where torchrun started several processes: each would do all of it, over the others' files."""
    from adaptseg_training.world import started_together  # torch

    if started_together() > 1:
        raise ConfigError(f"{flag} is of one process. Start it without torchrun, as {PROG} PRESET {flag} ...")


def _reset(preset: Sequence[str], flags: Sequence[str]) -> list[str]:
    """What a preset says of its data set (which part of it) says nothing of another one that `flags` name."""
    resets = []
    for domain in ("source", "target", "evaluate"):
        named = _value_of(flags, f"--{domain}.dataset")
        if named not in (None, _value_of(preset, f"--{domain}.dataset") or DomainConfig().dataset):
            resets += [f"--{domain}.split=", f"--{domain}.first=0", f"--{domain}.every=1", f"--{domain}.count=0"]
    return resets


def _value_of(flags: Sequence[str], flag: str) -> str | None:
    """The last value given for `flag`."""
    found = None
    for word, following in pairwise([*flags, ""]):
        name, equals, value = word.partition("=")
        if name == flag:
            found = value if equals else following
    return found


def _help(preset: str, whole: bool) -> NoReturn:
    """Print the help, short or whole, with the values of `preset`, and end the process."""
    flags = preset_flags(preset) if preset else []
    if whole:
        parse([*flags, "--help"])
    print(short_help(parse(flags)))
    raise SystemExit(0)


def take_sweeps(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """`argv` without its --sweep flags, and their values."""
    words, sweeps = [], []
    rest = iter(argv)
    for word in rest:
        if word == _SWEEP:
            sweeps.append(next(rest, ""))
        elif word.startswith(f"{_SWEEP}="):
            sweeps.append(word.partition("=")[2])
        else:
            words.append(word)
    return words, sweeps


def _resumed_run(flags: Sequence[str]) -> Path | None:
    run = _value_of(flags, "--run.resume")
    return None if run is None else Path(run)


def _own_preset(run: Path, named: str) -> str:
    """The preset that `run` was started with. ConfigError if the command names another: the run's config counts."""
    from adaptseg_training.checkpoint import last_checkpoint, read_record  # torch: a run is about to start

    last = last_checkpoint(run)
    if last is not None:
        own = str(read_record(last)["preset"])
    else:  # the command on top of config.yaml, the program first; that of an earlier resume names none
        words = shlex.split(_config_of(run).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "))
        own = words[1] if len(words) > 1 and not words[1].startswith("-") else named
    if named and Path(named).resolve() != Path(own).resolve():
        raise ConfigError(
            f"{run} is a run of {own or 'no preset'} and goes on under its own config: {named} would not count. "
            "Leave it out; or leave --run.resume out, to start another run."
        )
    return own or str(run / "config.yaml")


def _config_of(run: Path) -> Path:
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{run} is not a run to resume: it has no config.yaml. Runs lie in runs/ by default.")
    return path
