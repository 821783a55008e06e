"""Checkpoint -> bundle: trace, compare, and only then write."""

import dataclasses
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
from adaptseg_export.artifacts import Artifact, make_artifact, make_fixed, say_artifact
from adaptseg_export.aspp import with_shifted_aspp
from adaptseg_export.checks import check_export
from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_export.graph import write_graph
from adaptseg_export.heads import write_heads
from adaptseg_export.official import SIZE, read_release
from adaptseg_export.options import ExportOptions
from adaptseg_export.parity import Parity, compare, require
from adaptseg_export.probes import probes
from adaptseg_export.scoring import score
from adaptseg_export.verify import Batches, parity_record
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import HEADS, MODEL
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import find_label_set
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.checkpoint import Checkpoint, load_checkpoint, load_generator, model_size
from adaptseg_training.models.generator import preprocess_spec
from adaptseg_training.models.offsets import add_offsets, parse_offsets
from adaptseg_training.parsing import to_settings

Say = Callable[[str], None]


_PATHS = ("root", "weights", "dir", "resume", "from-adaptsegnet")
"""Settings and flags that hold paths."""
_TRAINED = "during training"
"""Among a bundle's metrics: what the run saw of the checkpoint, which is not a score of the graph."""


def export(options: ExportOptions, say: Say = print) -> Parity:
    """Write `options.bundle`; `say` is told each stage. Raises AdaptSegError, with nothing written, if it can't."""
    check_export(options)
    checkpoint, size = _open(options, say)
    spec = preprocess_spec(checkpoint.config.generator, options.size or size)
    labels = find_label_set(checkpoint.config.label_set)
    generator, offsets = load_generator(checkpoint), parse_offsets(options.class_offsets, labels)
    add_offsets(generator, offsets, labels)
    deployment = Deployment(MainLevel(generator), spec).eval()
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / MODEL
        say("tracing the generator ...")
        graph = Deployment(with_shifted_aspp(deployment.network), spec)
        write_graph(graph, model, half_weights=options.weights == "fp16")
        say(f"comparing onnxruntime with PyTorch ({model.stat().st_size / 1e6:.1f} MB graph) ...")
        parity = compare(deployment, model, probes(spec, options.images), options.weights)
        require(parity)
        unscored = record(checkpoint, options, spec, parity, offsets)
        if options.score is not None:
            say("scoring the graph on labelled images ...")
        scored = score(options, model, unscored)
        artifacts = _artifacts(options, deployment, scored, model, Path(scratch), say)
        write_heads(Path(scratch) / HEADS, len(scored.labels))
        write_bundle(
            options.bundle,
            model,
            _with_artifacts(scored, parity, artifacts, list(probes(spec, options.images))),
            graphs=[Path(scratch) / HEADS, *(artifact.path for artifact in artifacts)],
            overwrite=options.overwrite,
        )
    return parity


def _artifacts(
    options: ExportOptions, deployment: Deployment, record: Record, model: Path, scratch: Path, say: Say
) -> list[Artifact]:
    """The graphs that `--precisions` and `--fixed-shape` ask for; ParityError if one isn't admitted."""
    found = []
    for precision in options.precisions:
        say(f"making the {precision} graph ...")
        found.append(make_artifact(precision, options, deployment, record, model, scratch))
    if options.fixed_shape:
        found.append(make_fixed(record, model, scratch))
    for artifact in found:
        say_artifact(artifact, say)
    return found


def _with_artifacts(record: Record, parity: Parity, artifacts: list[Artifact], batches: Batches) -> Record:
    mious = {data: result["miou"] for data, result in record.metrics.items() if "miou" in result and data != _TRAINED}
    reference = dataclasses.replace(parity.of_graph, miou=mious)
    return dataclasses.replace(
        record,
        artifacts={artifact.path.name: artifact.record for artifact in artifacts},
        parity_file=parity_record(batches, [reference, *(artifact.agreement for artifact in artifacts)]),
    )


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


def record(
    checkpoint: Checkpoint, options: ExportOptions, spec: PreprocessSpec, parity: Parity, offsets: dict[str, float]
) -> Record:
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
            "command": command_without_folders(checkpoint.command),
            "step": checkpoint.step,
            "note": options.note,
            "class_offsets": offsets,
            "config": settings,
        },
        metrics={_TRAINED: checkpoint.metrics} if checkpoint.metrics else {},
        parity=parity.record(),
    )


def without_folders(value: Any, name: str = "") -> Any:
    """Settings with every path cut to its last part: a bundle travels, the exporting machine's folders don't.

    `name`: of the setting whose value it is. A split (rome/train) or a class (car/van) is no path.
    """
    if isinstance(value, dict):
        return {key: without_folders(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each, name) for each in value]
    return Path(value).name if name in _PATHS and isinstance(value, str) and "/" in value else value


def command_without_folders(command: str) -> str:
    """The same of a command line: of what follows a flag that takes a path, and of a preset's file."""
    words, name = [], "resume"  # ahead of every flag: the program and the preset
    for word in shlex.split(command):
        flag, equals, value = word.partition("=")
        if word.startswith("--"):
            name = flag.removeprefix("--").rpartition(".")[2]
            words.append(f"{flag}={without_folders(value, name)}" if equals else word)
        else:
            words.append(without_folders(word, name))
    return shlex.join(words)


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
