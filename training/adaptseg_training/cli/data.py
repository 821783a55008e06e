"""`adaptseg-data synthesize OUT`, `adaptseg-data preview OUT.png` and `adaptseg-data check DATASET ROOT`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg, subcommand

from adaptseg_serve.errors import ConfigError
from adaptseg_training.cli.common import run_command
from adaptseg_training.config import Dataset, DomainConfig

PROG = "adaptseg-data"

Look = Literal["day", "overcast", "rain", "dusk", "night"]


@dataclass(frozen=True)
class Synthesize:
    """Render labelled street frames: OUT/images/*.jpg and OUT/labels/*.png (palette PNG of Cityscapes train ids).

    The same seed gives the same frame; the same seed in another look gives the same street in another light.
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write."""
    count: int = 100
    """Frames to render, with seeds from `seed` on."""
    look: Look = "day"
    """Light and weather."""
    size: Annotated[tuple[int, int], arg(metavar="HEIGHT WIDTH")] = (360, 480)
    """Frame size in pixels."""
    seed: int = 0
    """Seed of the first frame."""


@dataclass(frozen=True)
class Preview:
    """Write a contact sheet of a data set: images beside their label maps."""

    out: Annotated[Positional[Path], arg(metavar="OUT.png")]
    """Picture to write."""
    data: DomainConfig = field(default_factory=DomainConfig)
    """Which data set."""
    rows: int = 8
    """Images, spread evenly over the data set."""


@dataclass(frozen=True)
class Check:
    """Read every file of a data set and say what must be mended, and how. Exit code 1 if something must.

    Looked for: missing pairs, unreadable files, wrong sizes, values that mean no class, empty classes.
    """

    dataset: Annotated[Positional[Dataset], arg(metavar="DATASET")]
    """gta5, synthia, synscapes, cityscapes, cross_city, camvid, synthetic_streets, own or frames."""
    root: Annotated[Positional[Path], arg(metavar="ROOT")]
    """Its folder; own: its YAML file."""
    split: str = ""
    """As --source.split of adaptseg-train."""
    workers: int = 4
    """Files read at a time."""
    json: bool = False
    """Print one JSON object with every problem, instead of text."""


Commands = (
    Annotated[Synthesize, subcommand("synthesize")]
    | Annotated[Preview, subcommand("preview")]
    | Annotated[Check, subcommand("check")]
)


def main() -> None:
    """Run the command on the process's arguments."""
    run_command(PROG, data_command)


def data_command(argv: Sequence[str]) -> int:
    """Parse and run one of the commands; returns the exit code."""
    match tyro.cli(Commands, prog=PROG, description="Make and look at data sets.", args=list(argv)):
        case Synthesize() as options:
            from adaptseg_training.data.synthesize import synthesize

            if options.count < 1 or options.seed < 0 or min(options.size) < 64:
                raise ConfigError("--count must be 1 or more, --seed 0 or more, --size 64 or more in height and width.")
            synthesize(options.out, range(options.seed, options.seed + options.count), options.look, options.size)
        case Preview() as options:
            from adaptseg_training.data.contact_sheet import write_contact_sheet

            if options.rows < 1:
                raise ConfigError(f"--rows is {options.rows}; it must be 1 or more.")
            write_contact_sheet(options.out, options.data, options.rows)
        case Check() as options:
            return check_command(options)
    return 0


def check_command(options: Check) -> int:
    """Check, print, return 1 if something must be mended."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from adaptseg_training.data.check import check
    from adaptseg_training.data.check_report import as_json, as_text

    if options.workers < 1:
        raise ConfigError(f"--workers is {options.workers}; it must be 1 or more.")
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"checking {options.dataset}", total=None)
        findings = check(
            DomainConfig(options.dataset, (options.root,), options.split),
            options.workers,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(json.dumps(as_json(findings)) if options.json else as_text(findings))
    return 1 if findings.must_mend else 0
