"""Scoring a predictor on labelled images: the same code during training, for checkpoints and for bundles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LABEL_SETS, LabelSet, translation
from adaptseg_serve.predictor import Predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.metrics import ConfusionMatrix


@dataclass(frozen=True)
class Scores:
    """What a predictor scored on `images` labelled images, in the classes of the data set."""

    labels: LabelSet
    matrix: ConfusionMatrix
    images: int

    def summary(self) -> dict[str, Any]:
        """JSON values: miou, accuracy, images, label_set and iou by class name, all 0..1; null for absent classes."""
        iou = self.matrix.iou()
        return {
            "miou": rounded(self.matrix.miou()),
            "accuracy": rounded(self.matrix.accuracy()),
            "images": self.images,
            "label_set": self.labels.name,
            "iou": {name: rounded(float(v)) for name, v in zip(self.labels.names, iou, strict=True)},
        }


def evaluate(
    predictor: Predictor,
    spec: PreprocessSpec,
    predicted: str,
    images: ImageSet,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scores:
    """Score every image: resized by `spec`, its scores upsampled to the label map's size (the paper's way).

    predicted: the predictor's label set; its train ids are translated to the data set's where they differ.
    """
    if images.label_set is None:
        raise ConfigError("this data set has no labels to score on; choose a labelled one.")
    try:
        table = translation(predicted, images.label_set)
    except ValueError as error:
        raise ConfigError(f"{error}.") from error
    labels = LABEL_SETS[images.label_set]
    matrix = ConfusionMatrix(len(labels))
    for index in range(len(images)):
        sample = images[index]
        assert sample.label_map is not None, "a data set with a label set labels every image"
        label_map = predictor.predict(spec.resize_image(sample.image)[None], [sample.label_map.shape])[0]
        matrix.add(sample.label_map, np.asarray(cv2.LUT(label_map, table), np.uint8))
        progress(index + 1, len(images))
    return Scores(labels, matrix, len(images))


def rounded(value: float) -> float | None:
    """To five digits; NaN, which JSON lacks, becomes None."""
    return None if np.isnan(value) else round(value, 5)


def subset_mious(scores: Scores, subsets: Mapping[str, tuple[str, ...]]) -> dict[str, float | None]:
    """mIoU over all classes but those named, by the subset's name."""
    return {name: rounded(scores.matrix.miou(_without(scores.labels, gone))) for name, gone in subsets.items()}


def _without(labels: LabelSet, gone: tuple[str, ...]) -> list[int]:
    for name in gone:
        if name not in labels.names:
            raise ConfigError(f"{labels.name} has no class {name!r} to exclude; it has {', '.join(labels.names)}.")
    return [c.train_id for c in labels.classes if c.name not in gone]
