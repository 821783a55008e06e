"""bundle.json and parity.json: from bytes to typed parts, or to a BundleError that names the field.

The fields are specified in docs/bundle-format.md.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

from adaptseg_serve.bundle_files import MANIFEST
from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import LabelClass, LabelSet
from adaptseg_serve.preprocess import PreprocessSpec

FORMAT = "adaptseg-bundle"
FORMAT_VERSION = 1
MODEL = "model.onnx"
PARITY = "parity.json"
HEADS = "heads.onnx"
Precision = Literal["fp32", "fp16", "int8"]
"""How a graph computes. model.onnx is fp32, however its weights are stored."""
MAX_INPUT_PIXELS = 1 << 24
"""Of one image at the network's input: eight frames of 1024x2048."""

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


def parse_json(raw: bytes, path: Path) -> Any:
    """The JSON value in `raw`; BundleError where it is none, or holds what no answer could: NaN, half a character."""
    try:
        found = json.loads(raw)
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path} is not JSON as docs/bundle-format.md wants it ({error}). Copy the bundle again."
        ) from error
    return found


def parse_manifest(raw: bytes, folder: Path) -> dict[str, Any]:
    """bundle.json's object, of a format that this release reads and with every required field."""
    path = folder / MANIFEST
    manifest = parse_json(raw, path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{path}: field 'format' must be {FORMAT!r}; this is some other kind of file.")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version is {version!r}, this release reads {FORMAT_VERSION}. "
            "Export the checkpoint again with this release, or install the release that wrote the bundle."
        )
    wrong = [k for k, kind in _REQUIRED.items() if not isinstance(manifest.get(k), kind)]
    if not wrong and not is_name(manifest["name"]):
        wrong = ["name"]
    if wrong:
        raise BundleError(
            f"{path}: missing or malformed: {', '.join(wrong)}; docs/bundle-format.md lists the fields. "
            "Export the checkpoint again with adaptseg-export."
        )
    return manifest


def is_name(text: str) -> bool:
    """Whether a bundle may have this name: it goes into log lines, metrics and addresses as it is."""
    return text.isprintable() and "/" not in text and 0 < len(text) <= 200


def check_artifacts(folder: Path, manifest: dict[str, Any]) -> None:
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
    if not all(isinstance(record.get(gate, 0), int | float) for gate in ("min_miou_ratio", "min_sure_agreement")):
        return False
    shape = record.get("shape", [1, 1, 1, 3])
    return isinstance(shape, list) and len(shape) == 4 and all(type(n) is int and n > 0 for n in shape)


def is_parity(found: Any) -> bool:
    """Whether parity.json's value has the parts that a verification reads."""
    if not isinstance(found, dict) or not isinstance(found.get("frames", {}), dict):
        return False
    artifacts = found.get("artifacts", {})
    return isinstance(artifacts, dict) and all(_is_compared(record) for record in artifacts.values())


def _is_compared(record: Any) -> bool:
    rows = record.get("comparisons", []) if isinstance(record, dict) else None
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and isinstance(row.get("name"), str)
        and isinstance(row.get("shape"), list)
        and isinstance(counts := row.get("label_counts"), list)
        and all(type(count) is int for count in counts)
        for row in rows
    )


def read_preprocess(manifest: dict[str, Any]) -> PreprocessSpec:
    """Fields `input` and `baked`; KeyError, TypeError, ValueError or OverflowError where they are malformed."""
    model_input, baked = manifest["input"], manifest["baked"]
    height, width = (int(v) for v in model_input["size"])
    if not (min(height, width) > 0 and height * width <= MAX_INPUT_PIXELS):
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


def read_labels(manifest: dict[str, Any]) -> LabelSet:
    """Field `classes`; the same errors."""
    classes = tuple(
        LabelClass(int(row["train_id"]), str(row["name"]), _color(row["color"]), int(row["label_id"]))
        for row in manifest["classes"]
    )
    if [c.train_id for c in classes] != list(range(len(classes))) or not 0 < len(classes) < 256:
        raise ValueError("classes must be listed by train_id, 0 to at most 254, without a gap")
    if not all(0 <= c.label_id < 256 for c in classes):
        raise ValueError("a class's label_id must be 0 to 255")
    return LabelSet(str(manifest["label_set"]), classes, {c.label_id: c.train_id for c in classes})


def _color(values: list[int]) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in values)
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        raise ValueError(f"colour {values} is outside 0..255")
    return red, green, blue
