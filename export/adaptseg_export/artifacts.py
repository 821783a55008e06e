"""The graphs beside model.onnx: made, compared with it, and admitted by figures or refused with them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed

from adaptseg_export.agreement import Agreement, compare_batch
from adaptseg_export.aspp import with_shifted_aspp
from adaptseg_export.deployment import Deployment
from adaptseg_export.graph import write_graph
from adaptseg_export.labelled import name_of, open_labelled
from adaptseg_export.options import ExportOptions
from adaptseg_export.parity import ParityError
from adaptseg_export.precision import Frames, HalfDeployment, write_int8
from adaptseg_export.probes import drawn, probes, street
from adaptseg_export.verify import Batches, compare_runs
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import MODEL, Bundle, open_bundle
from adaptseg_serve.predictor import Predictor, Scored, load_predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.data.streets import LOOKS
from adaptseg_training.evaluate import evaluate, scorer

Lower = Literal["fp16", "int8"]
CALIBRATION_FRAMES = 32


@dataclass(frozen=True)
class Artifact:
    """A graph beside model.onnx."""

    path: Path
    record: dict[str, Any]
    """Its entry under `artifacts` in bundle.json."""
    agreement: Agreement


def make_artifact(
    precision: Lower, options: ExportOptions, deployment: Deployment, record: Record, model: Path, folder: Path
) -> Artifact:
    """Write the `precision` graph to `folder`, compare and score it. ParityError says the figure that it fails by.

    `model` is the fp32 graph as it will be bundled.
    """
    path = folder / f"model.{precision}.onnx"
    spec = record.preprocess
    if precision == "int8":
        plain = folder / "plain.onnx"
        write_graph(deployment, plain)
        write_int8(plain, path, calibration_frames(options, spec))
    else:
        write_graph(HalfDeployment(with_shifted_aspp(deployment.network), spec).eval(), path)
    gates = {"min_miou_ratio": options.min_miou_ratio, "min_sure_agreement": options.min_sure_agreement}
    entry = {"precision": precision, **gates}
    bundle = _bundle(folder / f"{precision}-bundle", model, path, record, entry)
    agreement = _measure(bundle, precision, options)
    _admit(agreement, record.metrics, options)
    return Artifact(path, entry, agreement)


def make_fixed(record: Record, model: Path, folder: Path) -> Artifact:
    """The fp32 graph for one image of the input size: the same nodes, every dimension known."""
    path = folder / "model.fixed.onnx"
    shape = [1, *record.preprocess.size, 3]
    graph = onnx.load(str(model))
    make_input_shape_fixed(graph.graph, "image", shape)
    onnx.save_model(onnx.shape_inference.infer_shapes(graph), str(path), save_as_external_data=False)
    entry = {"precision": "fp32", "shape": shape}
    images = street((1, *record.preprocess.size))
    outputs = [
        onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"]).run(None, {"image": images})
        for each in (model, path)
    ]
    comparison = compare_batch("street", *outputs[0], *outputs[1])
    agreement = Agreement(path.name, "onnxruntime-cpu", f"{MODEL} on onnxruntime-cpu", (comparison,))
    if not agreement.only_ties:
        raise ParityError(f"{path.name} says other things than {MODEL}: {comparison}. No bundle was written.")
    return Artifact(path, entry, agreement)


def calibration_frames(options: ExportOptions, spec: PreprocessSpec) -> Frames:
    """Images of --calibrate, evenly thinned, or rendered streets of every look; at the network's input size."""
    if options.calibrate is None:
        return [drawn(spec, seed, look)[None] for look in LOOKS for seed in range(8)]
    images = open_labelled(options.calibrate, "calibrate")
    chosen = np.linspace(0, len(images) - 1, min(CALIBRATION_FRAMES, len(images))).astype(int)
    return [spec.resize_image(images[int(i)].image)[None] for i in chosen]


def _bundle(folder: Path, model: Path, path: Path, record: Record, entry: dict[str, Any]) -> Bundle:
    write_bundle(folder, model, dataclasses.replace(record, artifacts={path.name: entry}), graphs=(path,))
    return open_bundle(folder)


def _measure(bundle: Bundle, precision: Lower, options: ExportOptions) -> Agreement:
    reference = load_predictor(bundle, runtime="onnxruntime-cpu")
    lower = load_predictor(bundle, runtime=f"onnxruntime-cpu-{precision}")
    batches = [(name, images) for name, images in probes(bundle.preprocess, options.images) if name != "noise"]
    expected, found = _runs(reference, batches), _runs(lower, batches)
    agreement = compare_runs(batches, expected, found, bundle.graph(precision), lower.runtime)
    assert options.score is not None
    images = open_labelled(options.score, "score")
    scores = evaluate(scorer(lower, bundle.preprocess, bundle.labels.name, images), images).summary()
    return dataclasses.replace(agreement, miou={name_of(options.score): scores["miou"]})


def _runs(predictor: Predictor, batches: Batches) -> list[list[Scored]]:
    return [predictor.predict_scored(images, [images.shape[1:3]] * len(images)) for _, images in batches]


def _admit(agreement: Agreement, metrics: Any, options: ExportOptions) -> None:
    for data, miou in agreement.miou.items():
        reference = metrics[data]["miou"]
        if not reference or miou is None or miou < options.min_miou_ratio * reference:
            raise ParityError(
                f"{agreement.graph}: mIoU on {data} is {miou}, model.onnx has {reference}; needed is "
                f"{options.min_miou_ratio:g} of it (--min-miou-ratio). No bundle was written. "
                "Calibrate on frames of your own road (--calibrate), or leave this precision out."
            )
    if agreement.sure < options.min_sure_agreement:
        raise ParityError(
            f"{agreement.graph} agrees with model.onnx in {agreement.sure:.3%} of the pixels of which that is sure; "
            f"needed are {options.min_sure_agreement:.2%} (--min-sure-agreement). No bundle was written. "
            "Calibrate on frames of your own road (--calibrate), or leave this precision out."
        )


def say_artifact(artifact: Artifact, say: Callable[[str], None]) -> None:
    """One line for people."""
    found = artifact.agreement
    parts = [f"{found.graph}: {found.pixels:.3%} of pixels as model.onnx, {found.sure:.3%} of its sure ones"]
    parts += [f"mIoU {value} on {data}" for data, value in found.miou.items()]
    say("; ".join([*parts, f"{artifact.path.stat().st_size / 1e6:.1f} MB"]))
