"""Commands in the README and docs/ are as far right as can be told without their data.

Flags, presets, profiles, and a folder for each data set. What can be run as it stands, test_readme.py runs.
"""

import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tyro

from adaptseg_export import options as export
from adaptseg_serve.cli import predict
from adaptseg_training.cli.evaluate import parse_options
from adaptseg_training.cli.train import parse_command, take_sweeps
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import check_domain

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCES = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADAPTATION = "benchmarks/adaptation.py"


def train(words: list[str]) -> object:
    if {"--help", "--presets"} & set(words):
        return words
    config = parse_command(take_sweeps(words)[0])[1]
    return checked(config, source=config.source, target=config.target, evaluate=config.evaluate)


def evaluate(words: list[str]) -> object:
    options = parse_options(words)
    return checked(options, data=options.data)


def export_or_verify(words: list[str]) -> object:
    if "--verify" in words:
        return export.parse_verify([word for word in words if word != "--verify"])
    return export.parse(words)


def predict_images(words: list[str]) -> object:
    return tyro.cli(predict.Options, args=words)


def checked(options: object, **domains: DomainConfig | None) -> object:
    for name, domain in domains.items():
        if domain is not None:
            check_domain(domain, name)
    return options


PARSERS: dict[str, Callable[[list[str]], object]] = {
    "adaptseg-train": train,
    "adaptseg-evaluate": evaluate,
    "adaptseg-export": export_or_verify,
    "adaptseg-bench": export.parse_bench,
    "adaptseg-predict": predict_images,
}


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every call in a shell block of the file `path`, from the command's name on."""
    fences = FENCES.findall(path.read_text(encoding="utf-8"))
    for block in (text for language, text in fences if language in ("", "sh")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith((*PARSERS, "python ", "torchrun ")):
                words = shlex.split(line, comments=True)
                yield from (words[words.index(name) :] for name in (*PARSERS, ADAPTATION) if name in words)


CALLS = [pytest.param(words, id=f"{path.name} {words[0]}") for path in FILES for words in commands(path)]


@pytest.mark.parametrize("words", CALLS)
def test_a_command_in_the_docs_would_start(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[0] == ADAPTATION:
        monkeypatch.syspath_prepend(ROOT / "benchmarks")
        monkeypatch.setattr("sys.argv", words)
        understood = importlib.import_module("adaptation")._options()
    else:
        understood = PARSERS[words[0]](words[1:])
    assert understood is not None


def test_the_commands_are_found() -> None:
    found = [(path.name, words[0]) for path in FILES for words in commands(path)]
    assert set(found) >= {
        ("README.md", "adaptseg-train"),
        ("README.md", "adaptseg-export"),
        ("README.md", "adaptseg-predict"),
        ("paper.md", "adaptseg-train"),
        ("training.md", "adaptseg-train"),
        ("results.md", ADAPTATION),
    }
    assert sum(file == "README.md" for file, _ in found) > 12, "the packaged model's recipe is among them"
