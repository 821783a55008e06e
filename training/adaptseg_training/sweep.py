"""One run for each combination of some flags' values, one after the other, and a table of their scores."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adaptseg_serve.errors import ConfigError
from adaptseg_training.checkpoint import last_checkpoint, read_record
from adaptseg_training.config import TrainConfig
from adaptseg_training.domains import scored_domain
from adaptseg_training.engine import train
from adaptseg_training.parsing import PROG

ParseCommand = Callable[[Sequence[str]], tuple[str, TrainConfig]]


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    values: dict[str, str]
    """Flag, without its dashes -> value."""
    path: Path
    argv: tuple[str, ...]
    """Its own command line."""


def run_sweep(argv: Sequence[str], sweeps: Sequence[str], parse: ParseCommand, dry: bool = False) -> int:
    """Train every combination of `sweeps` ("main.adv-weight=0.0005,0.001") on top of `argv`; returns the exit code.

    A member that has begun goes on, one that is done is only read: the same command again finishes a broken sweep.
    `dry` lists the runs. Ends at the first run that fails or is stopped.
    """
    members = plan_sweep(argv, sweeps, parse)
    if not dry:
        for member in members:
            code = _train(member, parse)
            if code:
                return code
    _print(members)
    return 0


def plan_sweep(argv: Sequence[str], sweeps: Sequence[str], parse: ParseCommand) -> list[Member]:
    """The runs of a sweep. ConfigError for what is no sweep; wrong flags end the process as ever."""
    if any(word.partition("=")[0] == "--run.resume" for word in argv):  # before parsing, which would read that run
        raise ConfigError("--sweep names its own runs and goes on with them by itself; leave --run.resume out.")
    preset, config = parse(argv)
    stem = config.run.name or Path(preset).stem or "run"
    members = []
    for combination in product(*map(_pairs, sweeps)):
        values = dict(combination)
        name = "_".join([stem, *(f"{flag}_{value}" for flag, value in values.items())]).replace("/", "-")
        flags = [f"--{flag}={value}" for flag, value in values.items()]
        words = (*argv, *flags, "--run.name", name)
        members.append(Member(values, parse(words)[1].run.dir / name, words))
    return members


def _pairs(sweep: str) -> list[tuple[str, str]]:
    flag, _, values = sweep.partition("=")
    listed = [value for value in values.split(",") if value]
    if not flag or not listed:
        raise ConfigError(
            f"--sweep {sweep!r}: expected FLAG=VALUE,VALUE,... as in --sweep main.adv-weight=0.0005,0.001"
        )
    return [(flag.removeprefix("--"), value) for value in listed]


def _train(member: Member, parse: ParseCommand) -> int:
    preset, config = parse(member.argv)
    if (last := last_checkpoint(member.path)) is not None:
        record = read_record(last)
        if record["step"] >= config.run.stop_step and (record["metrics"] or scored_domain(config) is None):
            return 0
        config = replace(config, run=replace(config.run, resume=member.path))
    return train(config, preset=preset, command=shlex.join([PROG, *member.argv]))


def _print(members: Sequence[Member]) -> None:
    table = Table()
    for heading in (*members[0].values, "step", "mIoU %", "run"):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for member in members:
        table.add_row(*member.values.values(), *_score(member.path), str(member.path))
    Console(soft_wrap=True).print(table)


def _score(run: Path) -> tuple[str, str]:
    """Step and mIoU of the last evaluation; dashes before there is one."""
    path = run / "metrics.json"
    if not path.is_file():
        return "-", "-"
    last = json.loads(path.read_bytes())["evaluations"][-1]
    return str(last["step"]), "-" if last.get("miou") is None else f"{100 * last['miou']:.2f}"
