"""The bundle: a directory with `model.onnx` and `bundle.json`, opened and checked here.

The format is specified in docs/bundle-format.md. A bundle is data: nothing in it is ever executed or
unpickled, and sizes and digests are checked before any parser sees a file.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import LabelClass, LabelSet
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.reference import Reference, read_reference

FORMAT = "adaptseg-bundle"
FORMAT_VERSION = 1
MANIFEST = "bundle.json"
MODEL = "model.onnx"
PARITY = "parity.json"
Precision = Literal["fp32", "fp16", "int8"]
"""How a graph computes. model.onnx is fp32, however its weights are stored."""
MAX_MANIFEST_BYTES = 1 << 20

_REQUIRED: dict[str, type] = {
    "format": str,
    "format_version": int,
    "name": str,
    "created": str,
    "producer": dict,
    "generator": dict,
    "input": dict,
    "baked": dict,
    "output": dict,
    "label_set": str,
    "classes": list,
    "ignore_id": int,
    "training": dict,
    "metrics": dict,
    "parity": dict,
    "files": dict,
}


@dataclass(frozen=True)
class Bundle:
    """An opened, verified bundle. `manifest` is bundle.json as read; the rest are its parts, typed."""

    path: Path
    digest: str
    """sha256 (hex) of bundle.json, which itself holds the digest of every file: the model's version."""
    preprocess: PreprocessSpec
    labels: LabelSet
    manifest: dict[str, Any]
    reference: Reference | None = None
    """What it saw on its validation images; None where the export had none."""

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """The first 12 hex digits of `digest`: short enough for a header, long enough to tell bundles apart."""
        return self.digest[:12]

    @property
    def model_path(self) -> Path:
        return self.path / MODEL

    @property
    def graphs(self) -> dict[str, Precision]:
        """Every graph's file name and precision: model.onnx, and those that `artifacts` of the manifest adds."""
        extra: dict[str, Any] = self.manifest.get("artifacts", {})
        return {MODEL: "fp32", **{name: record["precision"] for name, record in extra.items()}}

    def graph(self, precision: Precision) -> str:
        """File name of the graph that computes in `precision`, for any shape; BundleError if there is none."""
        extra: dict[str, Any] = self.manifest.get("artifacts", {})
        for name, found in self.graphs.items():
            if found == precision and "shape" not in extra.get(name, {}):
                return name
        raise BundleError(
            f"{self.path} has no {precision} graph, only {', '.join(sorted(set(self.graphs.values())))}. Add it: "
            f"adaptseg-export CHECKPOINT {self.path} --overwrite --precisions {precision} --score DATASET ROOT SPLIT"
        )

    def parity(self) -> dict[str, Any]:
        """parity.json as read; {} in a bundle of a release that wrote none. BundleError if it is no JSON object."""
        if PARITY not in self.manifest["files"]:
            return {}
        found = json.loads(_read_small(self.path / PARITY))
        if not isinstance(found, dict):
            raise BundleError(f"{self.path / PARITY} is no JSON object. Export the checkpoint again.")
        return found


def packaged_bundle() -> Path:
    """Directory of the adapted model that ships with the package."""
    return Path(__file__).parent / "bundles" / "streets-lite"


def open_bundle(path: str | Path) -> Bundle:
    """Read and verify the bundle in directory `path`.

    Raises BundleError, saying which file or field is wrong and how to mend it.
    """
    folder = Path(path)
    raw = _read_manifest(folder)
    manifest = _parse(raw, folder)
    _check_files(folder, manifest["files"])
    _check_artifacts(folder, manifest)
    try:
        return Bundle(
            path=folder,
            digest=hashlib.sha256(raw).hexdigest(),
            preprocess=_preprocess(manifest),
            labels=_labels(manifest),
            manifest=manifest,
            reference=read_reference(manifest.get("reference"), len(manifest["classes"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder / MANIFEST}: a field is missing or malformed ({error!r}); "
            "docs/bundle-format.md lists them. Export the checkpoint again with adaptseg-export."
        ) from error


def file_record(path: Path) -> dict[str, Any]:
    """The `files` entry of one file: {"sha256": hex, "bytes": int}."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file():
        found = "it is not a directory" if not folder.is_dir() else f"it has no {MANIFEST}"
        raise BundleError(f"{folder} is not a bundle: {found}. Make one: adaptseg-export CHECKPOINT {folder}")
    return _read_small(path)


def _read_small(path: Path) -> bytes:
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has {path.stat().st_size} bytes; a manifest has at most {MAX_MANIFEST_BYTES}.")
    return path.read_bytes()


def _parse(raw: bytes, folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({error}). Copy the bundle again, or export it again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{path}: field 'format' must be {FORMAT!r}; this is some other kind of file.")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version is {version!r}, this release reads {FORMAT_VERSION}. "
            "Export the checkpoint again with this release, or install the release that wrote the bundle."
        )
    wrong = [k for k, kind in _REQUIRED.items() if not isinstance(manifest.get(k), kind)]
    if wrong:
        raise BundleError(
            f"{path}: missing or malformed: {', '.join(wrong)}; docs/bundle-format.md lists the fields. "
            "Export the checkpoint again with adaptseg-export."
        )
    return manifest


def _check_files(folder: Path, files: dict[str, Any]) -> None:
    if MODEL not in files:
        raise BundleError(f"{folder / MANIFEST}: 'files' does not list {MODEL}. Export the checkpoint again.")
    for name, record in files.items():
        _check_file(folder, name, record)


def _check_artifacts(folder: Path, manifest: dict[str, Any]) -> None:
    """The optional field `artifacts`: file name -> {"precision", and "shape" where it is fixed}."""
    extra = manifest.get("artifacts", {})
    rows = extra.items() if isinstance(extra, dict) else [("artifacts", None)]
    for name, record in rows:
        if name == MODEL or name not in manifest["files"] or not _is_artifact(record):
            raise BundleError(
                f"{folder / MANIFEST}: artifacts[{name!r}] must name a listed file besides {MODEL} and hold a "
                f"precision, one of {', '.join(get_args(Precision))}. Export the checkpoint again."
            )


def _is_artifact(record: Any) -> bool:
    if not isinstance(record, dict) or str(record.get("precision")) not in get_args(Precision):
        return False
    shape = record.get("shape", [1, 1, 1, 3])
    return isinstance(shape, list) and len(shape) == 4 and all(type(n) is int and n > 0 for n in shape)


def _check_file(folder: Path, name: str, record: Any) -> None:
    if Path(name).name != name or name in {"", ".", "..", MANIFEST}:
        raise BundleError(f"{folder / MANIFEST}: 'files' names {name!r}; only plain file names are allowed.")
    if not (isinstance(record, dict) and {"sha256", "bytes"} <= record.keys()):
        raise BundleError(f"{folder / MANIFEST}: files[{name!r}] must hold sha256 and bytes.")
    path = folder / name
    if not path.is_file() or path.is_symlink():
        raise BundleError(f"{path} is listed in {MANIFEST} but is not there. Copy the bundle again, whole.")
    if path.stat().st_size != record["bytes"]:
        raise BundleError(
            f"{path} has {path.stat().st_size} bytes, {MANIFEST} says {record['bytes']}. "
            "The copy is incomplete or the file was changed: copy the bundle again."
        )
    if file_record(path)["sha256"] != record["sha256"]:
        raise BundleError(
            f"{path}: wrong checksum (sha256 differs from {MANIFEST}). "
            "The file was changed or damaged: copy the bundle again, or export it again."
        )


def _preprocess(manifest: dict[str, Any]) -> PreprocessSpec:
    model_input, baked = manifest["input"], manifest["baked"]
    height, width = (int(v) for v in model_input["size"])
    if not (0 < height <= 1 << 14 and 0 < width <= 1 << 14):
        raise ValueError(f"input.size {height}x{width}")
    if model_input["resize"] not in ("bicubic", "bilinear"):
        raise ValueError(f"input.resize {model_input['resize']!r}")
    if baked["color_order"] not in ("rgb", "bgr"):
        raise ValueError(f"baked.color_order {baked['color_order']!r}")
    return PreprocessSpec(
        size=(height, width),
        resize=model_input["resize"],
        color_order=baked["color_order"],
        mean=_triple(baked["mean"]),
        std=_triple(baked["std"]),
    )


def _triple(values: list[float]) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _labels(manifest: dict[str, Any]) -> LabelSet:
    classes = tuple(
        LabelClass(int(row["train_id"]), str(row["name"]), _color(row["color"]), int(row["label_id"]))
        for row in manifest["classes"]
    )
    if [c.train_id for c in classes] != list(range(len(classes))) or not 0 < len(classes) < 256:
        raise ValueError("classes must be listed by train_id, 0 to at most 254, without a gap")
    return LabelSet(str(manifest["label_set"]), classes, {c.label_id: c.train_id for c in classes})


def _color(values: list[int]) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in values)
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        raise ValueError(f"colour {values} is outside 0..255")
    return red, green, blue
