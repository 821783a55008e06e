"""`adaptseg-data synthesize OUT` and `adaptseg-data preview OUT.png`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg, subcommand

from adaptseg_serve.errors import ConfigError
from adaptseg_training.cli.common import run_command
from adaptseg_training.config import DomainConfig

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


Commands = Annotated[Synthesize, subcommand("synthesize")] | Annotated[Preview, subcommand("preview")]


def main() -> None:
    """Run the command on the process's arguments."""
    run_command(PROG, data_command)


def data_command(argv: Sequence[str]) -> int:
    """Parse and run one of the commands; returns the exit code."""
    match tyro.cli(Commands, prog=PROG, description="Make and look at data sets.", args=list(argv)):
        case Synthesize() as options:
            from adaptseg_training.data.synthesize import synthesize

            if options.count < 1 or min(options.size) < 64:
                raise ConfigError("--count must be 1 or more, --size 64 or more in height and width.")
            synthesize(options.out, range(options.seed, options.seed + options.count), options.look, options.size)
        case Preview() as options:
            from adaptseg_training.data.contact_sheet import write_contact_sheet

            write_contact_sheet(options.out, options.data, options.rows)
    return 0
