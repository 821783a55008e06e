"""Writes a bundle directory, whole or not at all."""

import datetime
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptseg_serve.bundle import MANIFEST, MODEL, PACKAGED_NAME, PARITY, open_bundle
from adaptseg_serve.bundle_files import file_record
from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import IGNORE_ID, LabelSet
from adaptseg_serve.manifest import FORMAT, FORMAT_VERSION
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.reference import Reference


@dataclass(frozen=True)
class Record:
    """What a bundle says about itself, apart from its files; see docs/bundle-format.md for each field."""

    name: str
    preprocess: PreprocessSpec
    labels: LabelSet
    generator: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    reference: Reference | None = None
    artifacts: Mapping[str, Any] = field(default_factory=dict)
    """Graphs beside model.onnx: file name -> {"precision", and "shape" where it is fixed, and its gates}."""
    parity_file: Mapping[str, Any] = field(default_factory=dict)
    """The content of parity.json."""


def check_place(folder: Path, overwrite: bool) -> None:
    """BundleError where no bundle can be written to `folder`; makes the folders above it."""
    if str(folder) == PACKAGED_NAME:
        raise BundleError(f"{folder} names the packaged model wherever a bundle is asked for. Choose another name.")
    if folder.is_symlink() or folder.is_mount():
        kind = "a link" if folder.is_symlink() else "a mount point"
        raise BundleError(
            f"{folder} is {kind}, which can't be replaced. Export to a folder beside it, and move it there."
        )
    if (folder / MANIFEST).is_file():
        if not overwrite:
            raise BundleError(f"{folder} is a bundle already. Choose another name, or add --overwrite to replace it.")
    elif folder.exists():
        raise BundleError(f"{folder} exists and is no bundle. Choose another name.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent).cleanup()
    except OSError as error:
        raise BundleError(f"{folder} can't be written: {error}.") from error


def write_bundle(
    folder: Path, model: Path, record: Record, *, graphs: Iterable[Path] = (), overwrite: bool = False
) -> None:
    """Write `model` (an ONNX file), `graphs` (those of `record.artifacts`) and the manifest to `folder`, by way of a
    temporary folder beside it.

    Raises BundleError if `folder` exists and is not a bundle, or is one and `overwrite` is false; the bundle
    that was there stays until the new one has been opened and verified.
    """
    check_place(folder, overwrite)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        staging.chmod(0o755)
        shutil.copyfile(model, staging / MODEL)
        for graph in graphs:
            shutil.copyfile(graph, staging / graph.name)
        if record.parity_file:
            (staging / PARITY).write_text(json.dumps(record.parity_file, indent=1) + "\n", encoding="utf-8")
        manifest = manifest_of(record, {path.name: file_record(path) for path in sorted(staging.iterdir())})
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        open_bundle(staging)
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def manifest_of(record: Record, files: Mapping[str, Any]) -> dict[str, Any]:
    """The content of bundle.json."""
    spec = record.preprocess
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": record.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "producer": dict(record.producer),
        "generator": dict(record.generator),
        "input": {
            "name": "image",
            "layout": "NHWC",
            "dtype": "uint8",
            "color_order": "RGB",
            "size": list(spec.size),
            "resize": spec.resize,
        },
        "baked": {
            "color_order": spec.color_order,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "align_corners": True,
        },
        "output": {
            "label_map": {"name": "label_map", "layout": "NHW", "dtype": "uint8"},
            "logits": {"name": "logits", "layout": "NCHW", "dtype": "float32"},
        },
        "label_set": record.labels.name,
        "classes": [
            {"train_id": c.train_id, "name": c.name, "color": list(c.color), "label_id": c.label_id}
            for c in record.labels.classes
        ],
        "ignore_id": IGNORE_ID,
        "training": dict(record.training),
        "metrics": dict(record.metrics),
        "parity": dict(record.parity),
        **({"reference": record.reference.record()} if record.reference else {}),
        **({"artifacts": dict(record.artifacts)} if record.artifacts else {}),
        "files": dict(files),
    }


def _swap(staging: Path, folder: Path) -> None:
    if not folder.exists():
        staging.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    os.replace(folder, old)  # noqa: PTH105 - a directory over an empty directory; Path.rename promises less
    try:
        staging.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
