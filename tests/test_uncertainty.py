"""Confidence and entropy against torch: softmax of the upsampled logits, in float64."""

import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptseg_serve import uncertainty
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.tail import Logits, label_map_from_logits
from adaptseg_serve.uncertainty import class_shares, mean_entropy, uncertainty_from_logits


def reference(logits: Logits, size: tuple[int, int], align_corners: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) float64 confidence and normalised entropy."""
    planes = torch.from_numpy(logits).double()[None]
    scores = torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=align_corners)[0]
    probs = scores.softmax(0)
    return probs.max(0).values, torch.special.entr(probs).sum(0) / math.log(max(len(logits), 2))


def check(logits: Logits, size: tuple[int, int], align_corners: bool = True) -> None:
    found = uncertainty_from_logits(logits, size, align_corners)
    confidence, entropy = reference(logits, size, align_corners)
    assert found.confidence.dtype == found.entropy.dtype == np.float32
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-4)
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-4)


def noise(shape: tuple[int, ...], spread: float = 5.0, seed: int = 0) -> NDArray[np.float32]:
    return (spread * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


lengths = st.integers(1, 20)
sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([0.0, 0.1, 5.0, 100.0]), st.integers(1, 21), lengths, lengths, sizes, st.booleans())
def test_equal_to_torch(
    spread: float, classes: int, h: int, w: int, size: tuple[int, int], align_corners: bool
) -> None:
    check(noise((classes, h, w), spread), size, align_corners)


def test_a_whole_frame() -> None:
    check(noise((19, 65, 129)), (512, 1024))


def test_far_from_zero_and_float16() -> None:
    check(noise((7, 9, 11)) + np.float32(200), (50, 60))
    check(noise((7, 9, 11)).astype(np.float16).astype(np.float32), (50, 60))
    half = noise((7, 9, 11)).astype(np.float16)
    found = uncertainty_from_logits(half, (50, 60))
    np.testing.assert_array_equal(found.entropy, uncertainty_from_logits(half.astype(np.float32), (50, 60)).entropy)


def test_the_ends_of_both_scales() -> None:
    alike = uncertainty_from_logits(np.zeros((4, 3, 3), np.float32), (9, 9))
    np.testing.assert_allclose(alike.confidence, 0.25, rtol=1e-6)
    np.testing.assert_allclose(alike.entropy, 1.0, rtol=1e-6)
    sure = np.zeros((4, 3, 3), np.float32)
    sure[2] = 90
    found = uncertainty_from_logits(sure, (9, 9))
    assert found.confidence.min() == 1.0
    assert found.entropy.max() < 1e-30
    alone = uncertainty_from_logits(np.ones((1, 3, 3), np.float32), (9, 9))
    assert (alone.confidence.min(), alone.entropy.max()) == (1.0, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_leaves_numbers_in_range(value: float) -> None:
    logits = noise((5, 6, 7))
    logits[2, 3, 3] = value
    found = uncertainty_from_logits(logits, (41, 43))
    assert np.isfinite(found.confidence).all()
    assert np.isfinite(found.entropy).all()
    assert 0.2 <= found.confidence.min() <= found.confidence.max() <= 1.000001
    assert -1e-6 <= found.entropy.min() <= found.entropy.max() <= 1.000001
    assert 0 <= mean_entropy(logits) <= 1


def test_a_class_masked_with_minus_infinity_counts_for_nothing() -> None:
    logits = noise((5, 6, 7))
    logits[2] = -np.inf
    np.testing.assert_allclose(
        uncertainty_from_logits(logits, (41, 43)).confidence,
        uncertainty_from_logits(np.delete(logits, 2, 0), (41, 43)).confidence,
        atol=1e-6,
    )


def test_the_mean_entropy_is_that_of_the_grid() -> None:
    logits = noise((19, 17, 33))
    _, entropy = reference(logits, (17, 33), True)
    assert mean_entropy(logits) == pytest.approx(float(entropy.mean()), abs=1e-5)
    assert mean_entropy(logits) <= uncertainty_from_logits(logits, (129, 257)).entropy.mean()


def test_shares_are_of_the_pixels_and_sum_to_one() -> None:
    shares = class_shares(np.array([[0, 0, 2], [2, 2, 3]], np.uint8), 5)
    np.testing.assert_allclose(shares, [2 / 6, 0, 3 / 6, 1 / 6, 0])


@pytest.mark.parametrize("shape", [(3, 3), (0, 3, 3), (256, 3, 3), (2, 0, 3)])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(C, h, w\)"):
        uncertainty_from_logits(np.zeros(shape, np.float32), (9, 9))


def test_the_callers_logits_are_left_alone() -> None:
    logits = noise((3, 4, 4))
    logits[0, 0, 0] = np.nan
    before = logits.copy()
    uncertainty_from_logits(logits, (9, 9))
    np.testing.assert_array_equal(logits, before)


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "adaptseg_serve.uncertainty_kernel", None)
    monkeypatch.delattr("adaptseg_serve.uncertainty_kernel", raising=False)
    uncertainty._way.cache_clear()
    yield
    uncertainty._way.cache_clear()


@pytest.mark.parametrize("align_corners", [True, False])
def test_the_numpy_way_is_the_same(align_corners: bool, without_numba: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(noise((7, 9, 13)), (70, 131), align_corners)
    assert "pip install numba" in caplog.text


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "openvino"])
def test_a_predictor_gives_the_logits_of_its_label_maps(tiny_bundle: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    predictor = load_predictor(open_bundle(tiny_bundle), 1, runtime)  # type: ignore[arg-type]  # parametrised
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    scored = predictor.predict_scored(images, [(48, 64), (30, 31)])
    predictor.predict(images[::-1].copy(), [(48, 64), (48, 64)])  # must not overwrite what was handed out
    for one, label_map in zip(scored, predictor.predict(images, [(48, 64), (30, 31)]), strict=True):
        np.testing.assert_array_equal(one.label_map, label_map)
        np.testing.assert_array_equal(label_map_from_logits(one.logits, label_map.shape), label_map)  # type: ignore[arg-type]
        assert one.uncertainty().confidence.shape == label_map.shape
        assert 0 <= one.mean_entropy() <= 1
