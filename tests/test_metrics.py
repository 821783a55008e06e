"""IoU as torchmetrics computes it, and the rules for classes that are absent."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex, MulticlassRecall

from adaptseg_training.metrics import ConfusionMatrix

CLASSES = 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ignored=st.floats(0, 0.9), batches=st.integers(1, 3))
def test_measures_are_those_of_torchmetrics(seed: int, ignored: float, batches: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = ConfusionMatrix(CLASSES)
    jaccard = MulticlassJaccardIndex(CLASSES, average="none", ignore_index=255)
    weighted = MulticlassJaccardIndex(CLASSES, average="weighted", ignore_index=255)
    accuracy = MulticlassAccuracy(CLASSES, average="micro", ignore_index=255)
    recall = MulticlassRecall(CLASSES, average="none", ignore_index=255)
    for _ in range(batches):
        truth = rng.integers(0, CLASSES, (9, 13), dtype=np.uint8)
        truth[rng.uniform(size=truth.shape) < ignored] = 255
        predicted = rng.integers(0, CLASSES, truth.shape, dtype=np.uint8)
        matrix.add(truth, predicted)
        for metric in (jaccard, weighted, accuracy, recall):
            metric.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    expected = jaccard.compute().numpy()
    ours = matrix.iou()
    present = ~np.isnan(ours)
    np.testing.assert_allclose(ours[present], expected[present], atol=1e-6)
    labelled = matrix.counts.sum(axis=1) > 0
    if labelled.any():
        recalls = recall.compute().numpy()[labelled]
        np.testing.assert_allclose(matrix.class_accuracy()[labelled], recalls, atol=1e-6)
        assert matrix.mean_accuracy() == pytest.approx(float(recalls.mean()), abs=1e-6)
        assert matrix.accuracy() == pytest.approx(float(accuracy.compute()), abs=1e-6)
        assert matrix.frequency_weighted_iou() == pytest.approx(float(weighted.compute()), abs=1e-6)


def matrix_of(truth: list[int], predicted: list[int]) -> ConfusionMatrix:
    matrix = ConfusionMatrix(3)
    matrix.add(np.array(truth, np.uint8), np.array(predicted, np.uint8))
    return matrix


def test_a_class_in_neither_is_nan_and_skipped() -> None:
    matrix = matrix_of([0, 0, 1], [0, 0, 1])
    assert np.isnan(matrix.iou()[2])
    assert matrix.miou() == 1.0


def test_a_class_only_predicted_counts_as_zero() -> None:
    matrix = matrix_of([0, 0, 1], [0, 2, 1])
    assert matrix.iou().tolist() == [0.5, 1.0, 0.0]
    assert matrix.miou([0, 1]) == 0.75
    assert matrix.mean_accuracy() == pytest.approx(0.75)
    assert matrix.frequency_weighted_iou() == pytest.approx((2 * 0.5 + 1) / 3)


def test_a_prediction_outside_the_classes_is_a_miss() -> None:
    matrix = matrix_of([0, 0, 255], [0, 255, 0])
    assert matrix.iou()[0] == 0.5
    assert matrix.accuracy() == 0.5


def test_nothing_counted_is_nan() -> None:
    matrix = matrix_of([255], [0])
    assert np.isnan(matrix.miou())
    assert np.isnan(matrix.accuracy())
    assert np.isnan(matrix.mean_accuracy())
    assert np.isnan(matrix.frequency_weighted_iou())


def test_matrices_add_up() -> None:
    matrix = matrix_of([0, 0, 1], [0, 1, 1])
    matrix.merge(matrix_of([2], [2]))
    assert matrix.counts.tolist() == matrix_of([0, 0, 1, 2], [0, 1, 1, 2]).counts.tolist()


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match="truth is"):
        matrix_of([0, 1], [0])
