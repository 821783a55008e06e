"""Confusion matrix, IoU per class, mIoU: the scores of semantic segmentation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import LabelMap


class ConfusionMatrix:
    """Counts of pixels by (true class, predicted class); pixels whose true class is none of them don't count.

    A prediction that is none of the classes counts as a miss of the true class and as a hit of nothing.
    """

    def __init__(self, classes: int) -> None:
        self._counts = np.zeros((classes, classes + 1), np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(classes, classes + 1) int64; the last column holds predictions outside the classes."""
        return self._counts

    def add(self, truth: LabelMap, predicted: LabelMap) -> None:
        """Count one or more label maps of equal shapes."""
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, predicted {predicted.shape}")
        classes, columns = self._counts.shape
        known = truth < classes
        rows = truth[known].astype(np.int64)
        cells = rows * columns + np.minimum(predicted[known], classes)
        self._counts += np.bincount(cells, minlength=classes * columns).reshape(classes, columns)

    def merge(self, other: "ConfusionMatrix") -> None:
        """Count what `other` has counted, too."""
        self._counts += other.counts

    def iou(self) -> NDArray[np.float64]:
        """(classes,) intersection over union, 0..1; NaN for a class that is neither in truth nor predicted."""
        hits = np.diagonal(self._counts).astype(np.float64)
        predicted = self._counts.sum(axis=0)[:-1]
        union = self._counts.sum(axis=1) + predicted - hits
        iou: NDArray[np.float64] = np.divide(hits, union, out=np.full_like(hits, np.nan), where=union > 0)
        return iou

    def miou(self, train_ids: Sequence[int] | None = None) -> float:
        """Mean IoU over `train_ids` (all if None), skipping NaN; NaN if nothing is left.

        Only the mean is restricted: predictions of the other classes still count as errors, as in the paper.
        """
        values = self.iou() if train_ids is None else self.iou()[list(train_ids)]
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")

    def frequency_weighted_iou(self) -> float:
        """IoU averaged with each class's share of the counted pixels as its weight, 0..1; NaN if none was counted."""
        shares = self._counts.sum(axis=1)
        present = shares > 0
        return float(np.average(self.iou()[present], weights=shares[present])) if present.any() else float("nan")

    def class_accuracy(self) -> NDArray[np.float64]:
        """(classes,) share of each class's pixels that are right, 0..1; NaN for a class that has none."""
        total = self._counts.sum(axis=1)
        hits = np.diagonal(self._counts).astype(np.float64)
        accuracy: NDArray[np.float64] = np.divide(hits, total, out=np.full_like(hits, np.nan), where=total > 0)
        return accuracy

    def mean_accuracy(self) -> float:
        """Mean of `class_accuracy` over the classes that have pixels; NaN if none has."""
        values = self.class_accuracy()
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")

    def accuracy(self) -> float:
        """Share of counted pixels that are right, 0..1; NaN if none was counted."""
        total = int(self._counts.sum())
        return float(np.diagonal(self._counts).sum() / total) if total else float("nan")
