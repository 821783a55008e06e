"""Commands in docs/ are as far right as can be told without their data: flags, presets, a folder for each data set."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptseg_training.cli.evaluate import parse_options
from adaptseg_training.cli.train import parse_command, take_sweeps
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import check_domain

DOCS = Path(__file__).parents[1] / "docs"
COMMANDS = ("adaptseg-train", "adaptseg-evaluate")


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every call of one of COMMANDS in a shell block of the file `path`, from its name on."""
    for block in re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for name in set(COMMANDS) & set(words):  # at the start, or behind torchrun's own words
                yield words[words.index(name) :]


CALLS = [(path.name, words) for path in sorted(DOCS.glob("*.md")) for words in commands(path)]


def domains(words: list[str]) -> dict[str, DomainConfig | None]:
    """The data sets that a command line names."""
    if words[0] == "adaptseg-evaluate":
        return {"data": parse_options(words[1:]).data}
    config = parse_command(take_sweeps(words[1:])[0])[1]
    return {"source": config.source, "target": config.target, "evaluate": config.evaluate}


@pytest.mark.parametrize(("file", "words"), CALLS)
def test_a_command_in_the_docs_would_start(file: str, words: list[str]) -> None:
    for name, domain in domains(words).items():
        if domain is not None:
            check_domain(domain, name)


def test_the_commands_are_found() -> None:
    assert {file for file, _ in CALLS} >= {"paper.md", "training.md"}
