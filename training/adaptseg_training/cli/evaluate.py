"""`adaptseg-evaluate --checkpoint C | --bundle B --data.dataset camvid --data.root DIR`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.predictor import Predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.cli.common import run_command
from adaptseg_training.config import DomainConfig

PROG = "adaptseg-evaluate"


@dataclass(frozen=True)
class EvaluateOptions:
    """Per-class IoU of a checkpoint or a bundle on labelled images.

    Images are resized to the model's size, its scores upsampled to the size of the label map (the paper's way). The
    table goes to stderr, the last line of stdout is one JSON object.
    """

    data: DomainConfig = field(default_factory=lambda: DomainConfig(dataset="camvid", split="val"))
    """Labelled images; a segmenter of other classes is scored in the data set's classes."""
    checkpoint: Path | None = None
    """A checkpoint or a run's folder (its best checkpoint, else its last)."""
    bundle: Path | None = None
    """A bundle's folder."""
    exclude: tuple[str, ...] = ()
    """Classes to leave out of a second mean, as in mIoU over 10 of CamVid's 11 classes: --exclude bicyclist."""
    device: str = "cpu"
    """Device for a checkpoint: cpu, cuda, cuda:1 ..."""


def main() -> None:
    """Run the command on the process's arguments."""
    run_command(PROG, evaluate_command)


def evaluate_command(argv: Sequence[str]) -> int:
    """Score, print, return the exit code."""
    options = tyro.cli(EvaluateOptions, prog=PROG, args=list(argv))
    if (options.checkpoint is None) == (options.bundle is None):
        raise ConfigError("give either --checkpoint or --bundle.")
    from adaptseg_training.data.domains import open_domain
    from adaptseg_training.evaluate import evaluate, subset_mious

    images = open_domain(options.data, "data")
    predictor, spec, predicted, what = _open(options)
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), transient=True,
                  console=Console(stderr=True)) as progress:  # fmt: skip
        bar = progress.add_task(what, total=len(images))
        scores = evaluate(predictor, spec, predicted, images, lambda done, _: progress.update(bar, completed=done))
    summary = {"model": what, "runtime": predictor.runtime, **scores.summary()}
    if options.exclude:
        summary["excluded"] = list(options.exclude)
        summary["miou_subset"] = subset_mious(scores, {"subset": options.exclude})["subset"]
    Console(stderr=True).print(_table(summary))
    print(json.dumps(summary))
    return 0


def _open(options: EvaluateOptions) -> tuple[Predictor, PreprocessSpec, str, str]:
    """The predictor, what it wants done to images, the label set it predicts, and its name."""
    if options.bundle is not None:
        from adaptseg_serve.bundle import open_bundle
        from adaptseg_serve.predictor import load_predictor

        bundle = open_bundle(options.bundle)
        return load_predictor(bundle), bundle.preprocess, bundle.labels.name, f"{bundle.name} {bundle.version}"
    from adaptseg_training.checkpoint import load_checkpoint, load_generator, model_size
    from adaptseg_training.engine import choose_device
    from adaptseg_training.generator_predictor import GeneratorPredictor
    from adaptseg_training.models.generator import preprocess_spec

    assert options.checkpoint is not None
    checkpoint, device = load_checkpoint(options.checkpoint), choose_device(options.device)
    spec = preprocess_spec(checkpoint.config.generator, model_size(checkpoint.config))
    predictor = GeneratorPredictor(load_generator(checkpoint).to(device), spec, device)
    return predictor, spec, checkpoint.config.label_set, f"{options.checkpoint} step {checkpoint.step}"


def _table(summary: dict[str, Any]) -> Table:
    table = Table(title=f"{summary['model']} on {summary['images']} images ({summary['runtime']})")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, iou in summary["iou"].items():
        table.add_row(name, _percent(iou), style="dim" if name in summary.get("excluded", ()) else None)
    table.add_section()
    table.add_row(f"mIoU over {len(summary['iou'])}", _percent(summary["miou"]), style="bold")
    if "miou_subset" in summary:
        kept = len(summary["iou"]) - len(summary["excluded"])
        table.add_row(f"mIoU over {kept}", _percent(summary["miou_subset"]), style="bold")
    table.add_row("pixel accuracy", _percent(summary["accuracy"]))
    return table


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:.2f} %"
