"""A bundle with everything that adaptseg-export offers: further graphs, fp16 weights, class offsets, scores."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.checkpoints import PACKAGED, SIZE, packaged_generator, write_checkpoint
from helpers.official_trees import write_cityscapes
from onnx import numpy_helper
from PIL import Image

from adaptseg_export import bench
from adaptseg_export.cli import main
from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_serve.bundle import MANIFEST, MODEL, Bundle, open_bundle
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.predictor import load_predictor

OFFSETS = {"vegetation": -2.0, "sidewalk": 1.5}
ANY = ("--min-miou-ratio", "0.5", "--min-sure-agreement", "0.9")
"""The data are boards of noise, at a fifth of the network's size: what int8 loses there says little."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cityscapes")
    write_cityscapes(root, size=SIZE)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint", packaged_generator(), PACKAGED)


@pytest.fixture(scope="module")
def complete(checkpoint: Path, data: Path) -> Bundle:
    folder = checkpoint.parent / "complete"
    flags = ["--precisions", "fp16", "int8", "--fixed-shape", "--weights", "fp16", "--baseline", str(checkpoint)]
    offsets = ["--class-offsets", *(f"{name}={offset:g}" for name, offset in OFFSETS.items())]
    assert main([str(checkpoint), str(folder), *flags, *offsets, "--score", "cityscapes", str(data), "-", *ANY]) == 0
    return open_bundle(folder)


def test_every_graph_is_there_and_recorded(complete: Bundle) -> None:
    assert complete.graphs == {
        MODEL: "fp32",
        "model.fp16.onnx": "fp16",
        "model.int8.onnx": "int8",
        "model.fixed.onnx": "fp32",
    }
    recorded = complete.parity()["artifacts"]
    assert set(recorded) == set(complete.graphs)
    assert all(0 < recorded[name]["miou"]["cityscapes/val"] <= 1 for name in (*complete.graphs,)[:3])
    fixed = onnx.load(str(complete.path / "model.fixed.onnx")).graph.input[0].type.tensor_type.shape
    assert [each.dim_value for each in fixed.dim] == [1, *SIZE, 3]


def test_every_precision_is_served_and_says_nearly_the_same(complete: Bundle) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    exact = load_predictor(complete, 1, "onnxruntime-cpu").predict_scored(image, [SIZE])[0].logits
    for runtime, near in (("onnxruntime-cpu-fp16", 0.02), ("onnxruntime-cpu-int8", 0.3), ("openvino-int8", 0.3)):
        found = load_predictor(complete, 1, runtime).predict_scored(image, [SIZE])[0].logits
        assert 0 < np.abs(found - exact).max() < near * np.abs(exact).max(), runtime


def test_fp16_weights_are_stored_as_such(complete: Bundle) -> None:
    stored = onnx.load(str(complete.model_path)).graph.initializer
    kinds = {numpy_helper.to_array(each).dtype for each in stored if np.prod(each.dims) > 1000}
    assert kinds == {np.dtype(np.float16)}


def test_class_offsets_are_in_the_graph_and_in_the_record(complete: Bundle) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    with torch.inference_mode():
        plain = Deployment(MainLevel(packaged_generator()), complete.preprocess).eval()(torch.from_numpy(image))[1]
    shifted = load_predictor(complete, 1, "onnxruntime-cpu").predict_scored(image, [SIZE])[0].logits
    expected = plain[0].numpy()
    for name, offset in OFFSETS.items():
        expected[CITYSCAPES.train_id(name)] += offset
    assert np.abs(shifted - expected).max() < 0.1, "what fp16 weights round is less"
    assert complete.manifest["training"]["class_offsets"] == OFFSETS


def test_scoring_records_what_the_graph_saw_there(complete: Bundle, data: Path) -> None:
    """The reference that drift is measured from: shares and entropy of the label maps, not of the labels."""
    assert complete.reference is not None
    assert complete.reference.data == "cityscapes/val"
    scored = complete.manifest["metrics"]["cityscapes/val"]
    assert scored["images"] == complete.reference.images > 0
    files = sorted((data / "leftImg8bit" / "val").rglob("*.png"))
    frames = np.stack([np.asarray(Image.open(file)) for file in files])
    answers = load_predictor(complete, 1, "onnxruntime-cpu").predict_scored(frames, [SIZE] * len(files))
    counts = np.bincount(np.concatenate([a.label_map.ravel() for a in answers]), minlength=len(CITYSCAPES))
    np.testing.assert_allclose(complete.reference.figures.shares, counts / counts.sum(), atol=1e-5)
    assert complete.reference.figures.entropy == pytest.approx(np.mean([a.mean_entropy() for a in answers]), abs=1e-4)


def test_a_baseline_is_scored_beside_it(complete: Bundle) -> None:
    """The same checkpoint without the offsets: other figures, from the same images."""
    metrics = complete.manifest["metrics"]
    baseline = metrics["cityscapes/val"]["baseline"]
    assert baseline["images"] == metrics["cityscapes/val"]["images"]
    assert baseline["miou"] != metrics["cityscapes/val"]["miou"]


def test_verify_scores_and_fails_what_scores_too_little(
    complete: Bundle, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = ["--score", "cityscapes", str(data), "val", "--threads", "1"]
    main(["--verify", str(complete.path), *score])
    said = capsys.readouterr().out
    assert {"onnxruntime-cpu", "onnxruntime-cpu-fp16", "onnxruntime-cpu-int8", "openvino-int8"} <= set(said.split())
    stricter = tmp_path / "stricter"
    shutil.copytree(complete.path, stricter)
    manifest = json.loads((stricter / MANIFEST).read_text())
    manifest["artifacts"]["model.int8.onnx"]["min_miou_ratio"] = 2.0
    (stricter / MANIFEST).write_text(json.dumps(manifest))
    assert main(["--verify", str(stricter), *score]) == 1
    assert "the reference has" in capsys.readouterr().out


def test_bench_measures_and_scores_every_runtime(
    complete: Bundle, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--rounds", "1", "--threads", "1", "--runtimes", "onnxruntime-cpu-int8"]
    assert bench.main([str(complete.path), *flags, "--score", "cityscapes", str(data), "val"]) == 0
    rows = json.loads(capfd.readouterr().out.splitlines()[-1])["rows"]
    assert [row["runtime"] for row in rows] == ["onnxruntime-cpu", "onnxruntime-cpu-int8"]
    recorded = complete.parity()["artifacts"]
    for row, graph in zip(rows, (MODEL, "model.int8.onnx"), strict=True):
        assert row["miou"] == pytest.approx(recorded[graph]["miou"]["cityscapes/val"], abs=1e-6)
