"""Drift: the figures against other implementations, the window, the metrics of a server, a bundle's reference."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from helpers.serving import serving
from helpers.tiny_bundle import write_tiny_bundle
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy

from adaptseg_serve.bundle import MANIFEST, Bundle, open_bundle
from adaptseg_serve.drift import DriftWatch
from adaptseg_serve.errors import BundleError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.predictor import Scored, Size, load_predictor
from adaptseg_serve.reference import Figures, Reference, Window, distance, figures_of

CLASSES = 19


def shares(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values) / sum(values)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=30))
def test_the_distance_is_scipys(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = (shares([pair[side] + (i == 0) for i, pair in enumerate(pairs)]) for side in (0, 1))
    assert distance(ours, theirs) == pytest.approx(float(jensenshannon(ours, theirs, base=2)), abs=1e-6)
    assert 0 <= distance(ours, theirs) <= 1 + 1e-9


def test_the_distance_has_its_ends() -> None:
    assert distance(shares([1, 2, 3]), shares([1, 2, 3])) == 0
    assert distance(shares([1, 0]), shares([0, 1])) == pytest.approx(1)


def test_the_figures_of_a_small_image_are_exact() -> None:
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, CLASSES, (50, 60), np.uint8)
    logits = rng.normal(0, 2, (CLASSES, 10, 12)).astype(np.float32)
    found = figures_of(label_map, logits)
    np.testing.assert_allclose(found.shares, np.bincount(label_map.ravel(), minlength=CLASSES) / label_map.size)
    expected = entropy(softmax(logits.astype(np.float64), axis=0), axis=0).mean() / math.log(CLASSES)
    assert found.entropy == pytest.approx(expected, abs=1e-5)


def test_the_grid_of_a_large_image_is_near_the_whole() -> None:
    rng = np.random.default_rng(1)
    logits = cv2.GaussianBlur(rng.normal(size=(128, 256, CLASSES)).astype(np.float32), (0, 0), 6).transpose(2, 0, 1)
    logits = np.ascontiguousarray(logits) * 60
    label_map = cv2.resize(logits.argmax(0).astype(np.uint8), (2048, 1024), interpolation=cv2.INTER_NEAREST)
    whole = np.bincount(label_map.ravel(), minlength=CLASSES) / label_map.size
    found = figures_of(label_map, logits)
    assert distance(found.shares, whole) < 0.02
    expected = entropy(softmax(logits.astype(np.float64), axis=0), axis=0).mean() / math.log(CLASSES)
    assert found.entropy == pytest.approx(expected, rel=0.05)


def test_a_window_forgets() -> None:
    window = Window(2, images=3)
    for road, unsure in [(1.0, 0.9), (0.0, 0.1), (0.5, 0.2), (1.0, 0.3)]:
        window.add(Figures(np.array([road, 1 - road]), unsure))
    assert window.mean().shares.tolist() == [0.5, 0.5]
    assert window.mean().entropy == pytest.approx(0.2)


class Painted:
    """Label maps full of the image's first value; logits that are sure of class 0."""

    runtime = "painted-cpu"

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        return [np.full(size, image[0, 0, 0], np.uint8) for image, size in zip(images, sizes, strict=True)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        logits = np.full((CLASSES, 2, 2), -50, np.float32)
        logits[0] = 50
        return [Scored(label_map, logits) for label_map in self.predict(images, sizes)]


class Counting(Painted):
    def __init__(self) -> None:
        self.scored = 0

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        self.scored += 1
        return super().predict_scored(images, sizes)


class PaintedOnCuda(Painted):
    runtime = "onnxruntime-painted"


def values(exposition: bytes) -> dict[str, Any]:
    """name -> value, and class -> share under "shares"."""
    found: dict[str, Any] = {"shares": {}}
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            if sample.name == "adaptseg_drift_class_share":
                found["shares"][sample.labels["class"]] = sample.value
            elif sample.name.startswith("adaptseg_drift"):
                found[sample.name] = sample.value
    return found


def with_reference(bundle: Bundle, road: float) -> Bundle:
    there = np.zeros(CLASSES)
    there[:2] = road, 1 - road
    return replace(bundle, reference=Reference("camvid/val", 10, Figures(there, 0.1)))


@pytest.mark.parametrize("predictor", [Painted(), PaintedOnCuda()])
def test_a_watch_reports_every_nth_image_and_changes_no_answer(tiny_bundle: Path, predictor: Painted) -> None:
    metrics = Metrics()
    bundle = with_reference(open_bundle(tiny_bundle), 1.0)
    watch = DriftWatch(predictor, bundle, metrics, window=2, every=3)
    for train_id in (0, 1, 1, 0, 1, 1):  # The first and the fourth are looked at: road.
        image = np.full((1, 4, 4, 3), train_id, np.uint8)
        np.testing.assert_array_equal(watch.predict(image, [(5, 6)])[0], np.full((5, 6), train_id))
    found = values(metrics.exposition())
    assert (found["shares"]["road"], found["shares"]["sidewalk"]) == (1, 0)
    assert found["adaptseg_drift_distance"] == pytest.approx(0, abs=1e-6)
    assert found["adaptseg_drift_mean_entropy"] == pytest.approx(0, abs=1e-6)
    watch.predict(np.full((3, 4, 4, 3), 1, np.uint8), [(5, 6)] * 3)
    assert values(metrics.exposition())["shares"]["road"] == 0.5
    watch.predict(np.full((3, 4, 4, 3), 1, np.uint8), [(5, 6)] * 3)
    assert values(metrics.exposition())["adaptseg_drift_distance"] == pytest.approx(1)


def test_batches_are_looked_at_as_often_as_single_images(tiny_bundle: Path) -> None:
    looked = Counting()
    watch = DriftWatch(looked, open_bundle(tiny_bundle), Metrics(), window=2, every=10)
    for _ in range(50):
        watch.predict(np.zeros((8, 4, 4, 3), np.uint8), [(5, 6)] * 8)
    assert looked.scored == 40


def test_without_a_reference_there_is_no_distance(tiny_bundle: Path) -> None:
    metrics = Metrics()
    watch = DriftWatch(Painted(), open_bundle(tiny_bundle), metrics, window=2, every=1)
    watch.predict_scored(np.zeros((1, 4, 4, 3), np.uint8), [(5, 6)])
    assert math.isnan(values(metrics.exposition())["adaptseg_drift_distance"])
    assert values(metrics.exposition())["shares"]["road"] == 1


def test_another_bundle_is_not_measured_by_the_last_ones_reference(tiny_bundle: Path) -> None:
    metrics = Metrics()
    bundle = open_bundle(tiny_bundle)
    for one, reference in ((with_reference(bundle, 1.0), 0.1), (bundle, math.nan), (with_reference(bundle, 0.5), 0.1)):
        watch = DriftWatch(Painted(), one, metrics, window=2, every=1)
        found = values(metrics.exposition())
        assert math.isnan(found["adaptseg_drift_mean_entropy"])
        assert math.isnan(found["adaptseg_drift_distance"])
        assert found["adaptseg_drift_reference_mean_entropy"] == pytest.approx(reference, nan_ok=True)
        watch.predict(np.zeros((1, 4, 4, 3), np.uint8), [(5, 6)])
        assert math.isnan(values(metrics.exposition())["adaptseg_drift_distance"]) is math.isnan(reference)


def add_reference(folder: Path, reference: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"reference": reference}))


def test_a_server_exposes_the_drift_of_what_it_was_sent(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    frame = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    label_map = load_predictor(open_bundle(bundle)).predict(frame[None], [(48, 64)])[0]
    here = np.bincount(label_map.ravel(), minlength=CLASSES) / label_map.size
    reference = Reference("a/b", 1, Figures(np.full(CLASSES, 1 / CLASSES), 0.5)).record()
    add_reference(bundle, reference)
    png = cv2.imencode(".png", frame[..., ::-1])[1].tobytes()
    with serving(bundle, tmp_path, ADAPTSEG_DRIFT_EVERY="1") as server:
        assert math.isnan(values(httpx.get(f"{server.http_url}/metrics").content)["adaptseg_drift_mean_entropy"])
        for _ in range(3):
            assert httpx.post(f"{server.http_url}/v1/segment", content=png).status_code == 200
        found = values(httpx.get(f"{server.http_url}/metrics").content)
    assert list(found["shares"].values()) == pytest.approx(here.tolist(), abs=1e-6)
    assert found["adaptseg_drift_distance"] == pytest.approx(
        float(jensenshannon(here, np.full(CLASSES, 1 / CLASSES), base=2)), abs=1e-4
    )
    assert 0 < found["adaptseg_drift_mean_entropy"] < 1


@pytest.mark.parametrize(
    "reference",
    [
        [],
        "x",
        {"data": "a/b", "images": 1, "mean_entropy": 0.1},
        {"data": "a/b", "images": 1, "mean_entropy": 0.1, "class_shares": [1.0]},
        {"data": "a/b", "images": 1, "mean_entropy": 0.1, "class_shares": [0.5] * CLASSES},
        {"data": "a/b", "images": 1, "mean_entropy": math.nan, "class_shares": [1.0] + [0.0] * 18},
        {"data": "a/b", "images": 1, "mean_entropy": 0.1, "class_shares": [2.0, -1.0] + [0.0] * 17},
    ],
)
def test_a_malformed_reference_is_a_bundle_error(tmp_path: Path, reference: object) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    assert open_bundle(bundle).reference is None
    add_reference(bundle, reference)
    with pytest.raises(BundleError, match="bundle-format"):
        open_bundle(bundle)
