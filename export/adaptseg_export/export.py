"""Checkpoint -> bundle: trace, compare, and only then write."""

import platform
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

import adaptseg_serve
from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_export.graph import write_graph
from adaptseg_export.official import SIZE, read_release
from adaptseg_export.options import ExportOptions
from adaptseg_export.parity import Parity, compare, require
from adaptseg_export.probes import probes
from adaptseg_export.scoring import score
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import find_label_set
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.checkpoint import Checkpoint, load_checkpoint, load_generator, model_size
from adaptseg_training.models.generator import preprocess_spec
from adaptseg_training.parsing import to_settings

Say = Callable[[str], None]


def export(options: ExportOptions, say: Say = print) -> Parity:
    """Write `options.bundle`; `say` is told each stage. Raises AdaptSegError, with nothing written, if it can't."""
    checkpoint, size = _open(options, say)
    spec = preprocess_spec(checkpoint.config.generator, options.size or size)
    deployment = Deployment(MainLevel(load_generator(checkpoint)), spec).eval()
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        say("tracing the generator ...")
        write_graph(deployment, model, half_weights=options.weights == "fp16")
        say(f"comparing onnxruntime with PyTorch ({model.stat().st_size / 1e6:.1f} MB graph) ...")
        parity = compare(deployment, model, probes(spec, options.images), options.weights)
        require(parity)
        unscored = record(checkpoint, options, spec, parity)
        if options.score is not None:
            say("scoring the graph on labelled images ...")
        write_bundle(options.bundle, model, score(options, model, unscored), overwrite=options.overwrite)
    return parity


def _open(options: ExportOptions, say: Say) -> tuple[Checkpoint, tuple[int, int]]:
    """The checkpoint to export and the size it is meant to see images at."""
    if options.from_adaptsegnet:
        checkpoint, weights = read_release(options.checkpoint, options.label_set)
        say(str(weights))
        return checkpoint, SIZE
    if options.label_set:
        raise ConfigError("--label-set goes with --from-adaptsegnet only: a checkpoint says what its classes are.")
    checkpoint = load_checkpoint(Path(options.checkpoint))
    return checkpoint, model_size(checkpoint.config)


def record(checkpoint: Checkpoint, options: ExportOptions, spec: PreprocessSpec, parity: Parity) -> Record:
    """What the bundle says about itself."""
    config, settings = checkpoint.config, without_folders(to_settings(checkpoint.config))
    if options.from_adaptsegnet:  # how the authors trained isn't in their file
        settings = {key: settings[key] for key in ("label_set", "generator")}
    return Record(
        name=options.name or options.bundle.name,
        preprocess=spec,
        labels=find_label_set(config.label_set),
        generator=settings["generator"],
        producer=producer(),
        training={
            "preset": checkpoint.preset,
            "command": shlex.join(without_folders(word) for word in shlex.split(checkpoint.command)),
            "step": checkpoint.step,
            "note": options.note,
            "config": settings,
        },
        metrics={"during training": checkpoint.metrics} if checkpoint.metrics else {},
        parity=parity.record(),
    )


def without_folders(value: Any) -> Any:
    """Settings with every path cut to its last part: a bundle travels, the exporting machine's folders don't."""
    if isinstance(value, dict):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) and "/" in value else value


def producer() -> dict[str, str]:
    """Versions and the git revision that made the bundle."""
    return {
        "adaptseg_serve": adaptseg_serve.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "python": platform.python_version(),
        "git_revision": _git_revision(),
    }


def _git_revision() -> str:
    """Revision of the checkout this code runs from; "unknown" when installed from a wheel."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
