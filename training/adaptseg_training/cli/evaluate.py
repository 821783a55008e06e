"""`adaptseg-evaluate --checkpoint C | --bundle B --data.dataset camvid --data.root DIR`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from tyro.conf import arg

from adaptseg_serve.errors import ConfigError
from adaptseg_training.cli.common import run_command
from adaptseg_training.cli.evaluate_table import table
from adaptseg_training.config import NO_SIZE, DomainConfig, data_name
from adaptseg_training.files import writing

if TYPE_CHECKING:
    from adaptseg_training.data.sample import ImageSet
    from adaptseg_training.evaluate import Scorer, Scores
    from adaptseg_training.subjects import Subject

PROG = "adaptseg-evaluate"


MOST_WORST = 250
"""Rows of worst.jpg, of some 222 pixels each: a JPEG ends at 65 500."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Per-class IoU of a checkpoint or a bundle on labelled images.

    Images are resized to the model's size, its scores upsampled to the size of the label map (the paper's way). The
    table goes to stderr, the last line of stdout is one JSON object.
    """

    data: DomainConfig = field(default_factory=lambda: DomainConfig(dataset="camvid", size=NO_SIZE))
    """Labelled images (camvid, cityscapes: val if no split is given); a segmenter of other classes is scored in theirs.
    For unlabelled ones, infomax."""
    checkpoint: Path | None = None
    """A checkpoint or a run's folder (its best checkpoint, else its last)."""
    bundle: Path | None = None
    """A bundle's folder; or packaged."""
    oracle: Path | None = None
    """The gap to it is reported (Tables 2 and 5): a result.json of --out, or a checkpoint or bundle to score, too."""
    only: Annotated[tuple[str, ...], arg(metavar="CLASS ...")] = ()
    """Classes of a second mean: --only road car person."""
    exclude: Annotated[tuple[str, ...], arg(metavar="CLASS ...")] = ()
    """Classes to leave out of a second mean: --exclude bicyclist."""
    size: Annotated[tuple[int, int] | None, arg(metavar="HEIGHT WIDTH")] = None
    """Size the model sees images at; its own if not given."""
    class_offsets: Annotated[tuple[str, ...], arg(metavar="CLASS=NUMBER ...")] = ()
    """Score a checkpoint as adaptseg-export would deploy it with these: vegetation=-2 sidewalk=1.5."""
    at: Literal["label", "model"] = "label"
    """Count pixels at the label map's size (the paper's way), or at the model's (label maps shrunk to it)."""
    out: Path | None = None
    """Folder for result.json, per_class.csv, confusion.png and worst.jpg."""
    worst: int = 8
    """Images in worst.jpg."""
    device: str = "auto"
    """Device for a checkpoint: auto (a GPU, if there is one), cpu, cuda, cuda:1 ...; float32 on all of them."""


def main() -> None:
    """Run the command on the process's arguments."""
    run_command(PROG, evaluate_command)


def parse_options(argv: Sequence[str]) -> EvaluateOptions:
    """The options of a command line. ConfigError for those that can't be; unknown flags end the process."""
    options = tyro.cli(EvaluateOptions, prog=PROG, args=list(argv))
    _check(options)
    return options


def evaluate_command(argv: Sequence[str]) -> int:
    """Score, print, return the exit code."""
    options = _completed(parse_options(argv))
    from adaptseg_training.data.domains import open_domain

    images, subject = open_domain(options.data, "data"), _open_subject(options)
    if images.label_set is None:
        _check_label_free(options)
        print(json.dumps(label_free_summary(subject, images, options)))
    else:
        _report(subject, images, options)
    return 0


def _completed(options: EvaluateOptions) -> EvaluateOptions:
    """`options` with what they leave open of the images."""
    from adaptseg_training.data.domains import to_score

    data = to_score(options.data)
    if data.size == NO_SIZE:
        data = replace(data, size=DomainConfig.size)
    if data.count != options.data.count:
        said = f"{PROG}: scoring on {data.count} rendered streets; --data.count asks for more or fewer."
        print(said, file=sys.stderr)
    return replace(options, data=data)


def _open_subject(options: EvaluateOptions) -> "Subject":
    from adaptseg_training.subjects import bundle_subject, checkpoint_subject

    if options.bundle is not None:
        return bundle_subject(options.bundle, options.size)
    assert options.checkpoint is not None
    return checkpoint_subject(options.checkpoint, options.size, options.device, options.class_offsets)


def _report(subject: "Subject", images: "ImageSet", options: EvaluateOptions) -> None:
    """Score against labels, beside the oracle where one is named; print, and write the folder that is asked for."""
    from adaptseg_training.evaluation_report import write_report
    from adaptseg_training.oracle import Score, compare, open_oracle
    from adaptseg_training.subjects import open_subject

    if options.out is not None:
        with writing(options.out):  # before the long part, not after it
            options.out.mkdir(parents=True, exist_ok=True)

    def rescore(path: Path) -> Score:
        itself = open_subject(path, None, options.device)
        return lambda _: _score(itself, images, options)[0]

    oracle = None if options.oracle is None else open_oracle(options.oracle, _described(options), rescore)
    summary, scores, ask = _score(subject, images, options)
    if oracle is not None:
        summary["oracle"] = compare(summary, oracle(summary))
    Console(stderr=True).print(table(summary))
    print(json.dumps(summary), flush=True)
    if options.out is not None:
        write_report(options.out, summary, scores, ask, images, options.worst)
        print(f"wrote {options.out}", file=sys.stderr)


def label_free_summary(subject: "Subject", images: "ImageSet", options: EvaluateOptions) -> dict[str, Any]:
    """What can be said without labels: infomax, which compares checkpoints of one run. ConfigError for a bundle."""
    if subject.generator is None:
        raise ConfigError("this data set has no labels to score on, and the label-free score needs a checkpoint.")
    from adaptseg_training.label_free import label_free_score

    device = next(subject.generator.parameters()).device
    found = label_free_score(subject.generator, subject.spec, images, device).summary()
    return {"model": subject.name, "data": options.data.dataset, "size": list(subject.spec.size), **found}


def _check(options: EvaluateOptions) -> None:
    if (options.checkpoint is None) == (options.bundle is None):
        raise ConfigError("give either --checkpoint or --bundle.")
    if options.class_offsets and options.bundle is not None:
        raise ConfigError("--class-offsets is for a checkpoint: a bundle has its own.")
    if options.size is not None and min(options.size) < 32:
        raise ConfigError(f"--size is {options.size}; height and width must be 32 or more.")
    if options.data.size != NO_SIZE and options.data.dataset != "streets":
        raise ConfigError(
            "--data.size: labelled images stay as they are; the size that the model sees them at is --size."
        )
    if not 0 <= options.worst <= MOST_WORST:
        raise ConfigError(f"--worst is {options.worst}; it must be from 0 to {MOST_WORST}, or a JPEG can't hold them.")


def _check_label_free(options: EvaluateOptions) -> None:
    """ConfigError for flags that mean nothing without labels."""
    labelled = ("oracle", "only", "exclude", "out")
    if given := [f"--{name}" for name in labelled if getattr(options, name)]:
        raise ConfigError(
            f"{', '.join(given)}: this data set has no labels, so there is no IoU to report. Leave it out."
        )


def _described(options: EvaluateOptions) -> dict[str, Any]:
    """What a result says of its images and of how they are counted."""
    data, all_of_it = options.data, DomainConfig()
    part = [f"{n} {getattr(data, n)}" for n in ("first", "every") if getattr(data, n) != getattr(all_of_it, n)]
    return {"data": " ".join([data_name(data.dataset, data.split), *part]), "at": options.at}


def _score(
    subject: "Subject", images: "ImageSet", options: EvaluateOptions
) -> tuple[dict[str, Any], "Scores", "Scorer"]:
    """The summary that is printed, the scores in it, and what to ask for single images again."""
    from adaptseg_training.evaluate import evaluate, own_subset, scorer, subset_mious

    ask = scorer(subject.predictor, subject.spec, subject.label_set, images, options.at)
    kept = own_subset(ask.labels, options.only, options.exclude)  # before the long part, not after it
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), transient=True,
                  console=Console(stderr=True)) as progress:  # fmt: skip
        bar = progress.add_task(subject.name, total=len(images))
        scores = evaluate(ask, images, lambda done, _: progress.update(bar, completed=done))
    summary = {
        "model": subject.name,
        "runtime": subject.predictor.runtime,
        "size": list(subject.spec.size),
        **_described(options),
        **scores.summary(),
    }
    if options.only or options.exclude:
        summary["excluded"] = [name for name in ask.labels.names if name not in kept]
        summary["miou_subset"] = subset_mious(scores, {"subset": kept})["subset"]
    return summary, scores, ask
