"""A bundle's parity, run again where it will serve: on every runtime of this machine, without torch."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_export.agreement import Agreement, Comparison, compare_batch
from adaptseg_export.bounds import MIN_AGREEMENT, MIN_SURE_AGREEMENT
from adaptseg_serve.bundle import MODEL, Bundle, Precision
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.predictor import Predictor, Scored, load_predictor

Batches = Sequence[tuple[str, NDArray[np.uint8]]]
"""(name, (N, H, W, 3) uint8 RGB)."""

REFERENCE = "onnxruntime-cpu"
RUNTIMES: Mapping[str, Precision] = {
    "onnxruntime-cpu": "fp32",
    "onnxruntime-cpu-fp16": "fp16",
    "onnxruntime-cpu-int8": "int8",
    "onnxruntime-cuda": "fp32",
    "onnxruntime-cuda-fp16": "fp16",
    "onnxruntime-tensorrt-fp16": "fp16",
    "openvino": "fp32",
    "openvino-bf16": "fp32",
    "openvino-int8": "int8",
    "tensorrt": "fp32",
    "tensorrt-bf16": "fp32",
    "tensorrt-fp16": "fp16",
}
"""What can be compared, and the precision of the graph it runs."""


@dataclass(frozen=True)
class Check:
    """One line of the verdict."""

    agreement: Agreement
    fault: str = ""
    """Why it fails; empty if it passes."""


def load_those_here(
    bundle: Bundle, say: Callable[[str], None], threads: int = 0, only: Collection[str] = RUNTIMES
) -> dict[str, Predictor]:
    """The predictors of `only` that this machine and this bundle allow, and the reference, which is first; what is
    not allowed is told to `say`."""
    found: dict[str, Predictor] = {}
    for runtime, precision in RUNTIMES.items():
        if precision not in bundle.graphs.values() or runtime not in (*only, REFERENCE):
            continue
        try:
            found[runtime] = load_predictor(bundle, threads, runtime)
        except (ConfigError, BundleError) as error:
            if runtime == REFERENCE:
                raise
            say(f"{runtime}: not here ({error})")
    return found


def verify(bundle: Bundle, predictors: Mapping[str, Predictor], batches: Batches) -> list[Check]:
    """Each predictor against the reference on `batches`, and the reference against what parity.json recorded."""
    expected = [_run(predictors[REFERENCE], images) for _, images in batches]
    checks = []
    for runtime, predictor in predictors.items():
        taken = [takes(runtime, bundle, images) for _, images in batches]
        seen, wanted = list(compress(batches, taken)), list(compress(expected, taken))
        found = wanted if runtime == REFERENCE else [_run(predictor, images) for _, images in seen]
        agreement = compare_runs(seen, wanted, found, bundle.graph(RUNTIMES[runtime]), runtime)
        checks.append(Check(agreement, _fault(bundle, seen, agreement)))
    return checks


def takes(runtime: str, bundle: Bundle, images: NDArray[np.uint8]) -> bool:
    """TensorRT's engines are built for the bundle's size alone."""
    return "tensorrt" not in runtime or images.shape[1:3] == bundle.preprocess.size


def compare_runs(
    batches: Batches, expected: Iterable[list[Scored]], found: Iterable[list[Scored]], graph: str, runtime: str
) -> Agreement:
    """`found` of `runtime` against `expected` of the reference."""
    pairs = zip(batches, expected, found, strict=True)
    comparisons = tuple(_compare(name, one, other) for (name, _), one, other in pairs)
    return Agreement(graph, runtime, f"{MODEL} on {REFERENCE}", comparisons)


def fingerprint(images: NDArray[np.uint8]) -> str:
    """sha256 of a batch's shape and pixels: rendered frames may differ between releases of NumPy and OpenCV."""
    return hashlib.sha256(repr(images.shape).encode() + images.tobytes()).hexdigest()


def _run(predictor: Predictor, images: NDArray[np.uint8]) -> list[Scored]:
    height, width = images.shape[1:3]
    return predictor.predict_scored(images, [(height, width)] * len(images))


def _compare(name: str, expected: list[Scored], found: list[Scored]) -> Comparison:
    return compare_batch(
        name,
        [one.label_map for one in expected],
        _logits(expected),
        [one.label_map for one in found],
        _logits(found),
    )


def _logits(scored: list[Scored]) -> NDArray[np.float32]:
    return np.stack([one.logits for one in scored]).astype(np.float32)


def _fault(bundle: Bundle, batches: Batches, agreement: Agreement) -> str:
    if agreement.runtime == REFERENCE:
        return _fault_of_record(bundle.parity(), batches, agreement)
    exact = RUNTIMES[agreement.runtime] == "fp32" and not agreement.runtime.endswith("bf16")
    if exact and (agreement.pixels < MIN_AGREEMENT or not agreement.only_ties):
        return f"agrees in {agreement.pixels:.4%} of pixels (needed {MIN_AGREEMENT:.2%}, the rest ties)"
    needed = bundle.manifest.get("artifacts", {}).get(agreement.graph, {}).get("min_sure_agreement", MIN_SURE_AGREEMENT)
    if agreement.sure < needed:
        return f"agrees in {agreement.sure:.3%} of the pixels of which fp32 is sure (needed {needed:.2%})"
    return ""


def _fault_of_record(parity: Mapping[str, Any], batches: Batches, agreement: Agreement) -> str:
    """The reference's label counts against those at export: their distance is the least possible disagreement."""
    recorded = {row["name"] + str(row["shape"]): row for row in _rows(parity)}
    frames = parity.get("frames", {})
    for (name, images), found in zip(batches, agreement.comparisons, strict=True):
        row = recorded.get(name + str(list(found.shape)))
        if row is None or frames.get(name + str(list(found.shape))) != fingerprint(images):
            continue  # recorded by no release, or drawn otherwise here: nothing to hold it to
        moved = sum(abs(a - b) for a, b in zip(row["label_counts"], found.label_counts, strict=True)) // 2
        if moved > (1 - MIN_AGREEMENT) * found.pixels + 1:
            return f"{name}: at least {moved} pixels of {found.pixels} are not what they were at export"
    return ""


def _rows(parity: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = parity.get("artifacts", {}).get(MODEL, {}).get("comparisons", [])
    return rows


def parity_record(batches: Batches, agreements: Iterable[Agreement]) -> dict[str, Any]:
    """The content of parity.json; see docs/bundle-format.md."""
    return {
        "frames": {name + str(list(images.shape[:3])): fingerprint(images) for name, images in batches},
        "artifacts": {agreement.graph: agreement.record() for agreement in agreements},
    }
