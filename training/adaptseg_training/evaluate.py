"""Scoring a predictor on labelled images: the same code during training, for checkpoints and for bundles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import SUBSETS, LabelMap, LabelSet, find_label_set, translation
from adaptseg_serve.predictor import Predictor
from adaptseg_serve.preprocess import PreprocessSpec, resize_label_map
from adaptseg_training.data.sample import ImageSet, Sample
from adaptseg_training.metrics import ConfusionMatrix

At = Literal["label", "model"]
"""Where pixels are counted. label: scores are upsampled to the label map's size (the paper's way). model: at the size
the network sees, the label map shrunk to it by nearest neighbour; quicker, and kinder to thin things."""


@dataclass(frozen=True)
class Scores:
    """What a predictor scored on labelled images, in the classes of the data set."""

    labels: LabelSet
    matrix: ConfusionMatrix
    image_mious: tuple[float, ...]
    """mIoU of each image over the classes in it or in its prediction; NaN where no pixel counts."""

    @property
    def images(self) -> int:
        return len(self.image_mious)

    def summary(self) -> dict[str, Any]:
        """JSON values: the measures 0..1, null for absent classes, images, label_set, and iou by class name."""
        return {
            "miou": rounded(self.matrix.miou()),
            "miou_over": subset_mious(self, named_subsets(self.labels)),
            "accuracy": rounded(self.matrix.accuracy()),
            "mean_accuracy": rounded(self.matrix.mean_accuracy()),
            "frequency_weighted_iou": rounded(self.matrix.frequency_weighted_iou()),
            "images": self.images,
            "label_set": self.labels.name,
            "iou": {name: rounded(float(v)) for name, v in zip(self.labels.names, self.matrix.iou(), strict=True)},
        }

    def worst(self, count: int) -> list[int]:
        """Numbers of the `count` images of the lowest mIoU, worst first; those without a counted pixel left out."""
        known = [i for i, miou in enumerate(self.image_mious) if not np.isnan(miou)]
        return sorted(known, key=lambda i: self.image_mious[i])[:count]


@dataclass(frozen=True)
class Scorer:
    """A predictor of label set `predicted`, asked for label maps in the classes of `labels`."""

    predictor: Predictor
    spec: PreprocessSpec
    labels: LabelSet
    table: NDArray[np.uint8]
    at: At = "label"

    def __call__(self, sample: Sample) -> tuple[LabelMap, LabelMap]:
        """(truth, prediction) of one labelled image, both (H, W) uint8 train ids of `labels`, at the size of `at`."""
        assert sample.label_map is not None, "a data set with a label set labels every image"
        truth = sample.label_map if self.at == "label" else resize_label_map(sample.label_map, self.spec.size)
        predicted = self.predictor.predict(self.spec.resize_image(sample.image)[None], [truth.shape])[0]
        return truth, np.asarray(cv2.LUT(predicted, self.table), np.uint8)


def scorer(predictor: Predictor, spec: PreprocessSpec, predicted: str, images: ImageSet, at: At = "label") -> Scorer:
    """Ask `predictor`, whose label set is called `predicted`, about labelled `images` resized by `spec`.

    ConfigError if `images` are unlabelled, or if no translation from its classes to theirs is known.
    """
    if images.label_set is None:
        raise ConfigError("this data set has no labels to score on; choose a labelled one.")
    try:
        table = translation(predicted, images.label_set)
    except ValueError as error:
        raise ConfigError(f"{error}.") from error
    return Scorer(predictor, spec, find_label_set(images.label_set), table, at)


def evaluate(ask: Scorer, images: ImageSet, progress: Callable[[int, int], None] = lambda done, total: None) -> Scores:
    """Score every image; `progress` is told how many of how many are done."""
    whole, mious = ConfusionMatrix(len(ask.labels)), []
    for index in range(len(images)):
        single = ConfusionMatrix(len(ask.labels))
        single.add(*ask(images[index]))
        whole.merge(single)
        mious.append(single.miou())
        progress(index + 1, len(images))
    return Scores(ask.labels, whole, tuple(mious))


def rounded(value: float) -> float | None:
    """To five digits; NaN, which JSON lacks, becomes None."""
    return None if np.isnan(value) else round(value, 5)


def named_subsets(labels: LabelSet) -> dict[str, tuple[str, ...]]:
    """The subsets of `labels` on which papers score: name -> class names."""
    return {name: classes for name, classes in SUBSETS.items() if name.startswith(f"{labels.name}-")}


def subset_mious(scores: Scores, subsets: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    """mIoU over the classes of each subset, by its name. Only the mean is restricted; see ConfusionMatrix.miou."""
    ids = {name: [scores.labels.train_id(c) for c in classes] for name, classes in subsets.items()}
    return {name: rounded(scores.matrix.miou(each)) for name, each in ids.items()}


def own_subset(labels: LabelSet, only: Sequence[str], exclude: Sequence[str]) -> tuple[str, ...]:
    """The classes of `only` (all if empty) but those of `exclude`. ConfigError for names that `labels` lacks."""
    for name in (*only, *exclude):
        if name not in labels.names:
            raise ConfigError(f"{labels.name} has no class {name!r}; it has {', '.join(labels.names)}.")
    kept = tuple(name for name in dict.fromkeys(only or labels.names) if name not in exclude)
    if not kept:
        raise ConfigError("the subset leaves no class to take a mean over.")
    return kept
