"""Sample -> tensors of the training size: resized as at serving time, or augmented."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LabelMap, translation
from adaptseg_serve.preprocess import PreprocessSpec, resize_label_map
from adaptseg_training.data.augment import augment
from adaptseg_training.data.sample import Image, ImageSet, Sample

Pair = tuple[Tensor, Tensor]
"""(3, H, W) uint8 RGB image, (H, W) uint8 train ids; a label map of no elements for unlabelled images."""


@dataclass(frozen=True)
class Preparer:
    """Makes training tensors of samples. `train_ids` takes the data set's train ids to the generator's."""

    spec: PreprocessSpec
    augmented: bool
    train_ids: NDArray[np.uint8] | None

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Pair:
        """Unlabelled where `train_ids` is None, whatever the data set has: a target's labels are never seen."""
        labels = sample.label_map if self.train_ids is not None else None
        image, labels = self._resized(sample.image, labels, rng)
        if labels is not None and self.train_ids is not None:
            labels = np.asarray(cv2.LUT(labels, self.train_ids), np.uint8)
        return _to_tensor(image.transpose(2, 0, 1)), _to_tensor(np.empty(0, np.uint8) if labels is None else labels)

    def _resized(
        self, image: Image, labels: LabelMap | None, rng: np.random.Generator
    ) -> tuple[Image, LabelMap | None]:
        if self.augmented:
            return augment(image, labels, self.spec.size, rng)
        return self.spec.resize_image(image), None if labels is None else resize_label_map(labels, self.spec.size)


def label_table(images: ImageSet, label_set: str, name: str) -> NDArray[np.uint8]:
    """(256,) uint8: a labelled data set's train ids -> those of `label_set`. ConfigError where there is no way."""
    if images.label_set is None:
        raise ConfigError(f"--{name}.dataset has no labels; choose a labelled data set.")
    try:
        return translation(images.label_set, label_set)
    except ValueError as error:
        raise ConfigError(
            f"--{name}.dataset has the {images.label_set} classes, --label-set is {label_set}: {error}."
        ) from error


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels))
