"""Sample -> tensors of the training size: resized as at serving time, or augmented."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import translation
from adaptseg_serve.preprocess import PreprocessSpec, resize_label_map
from adaptseg_training.data.augment import crop, recolour
from adaptseg_training.data.sample import Image, ImageSet, Sample

Pair = tuple[Tensor, Tensor]
"""(3, H, W) uint8 RGB image, (H, W) uint8 train ids; of an unlabelled image no elements, or the image as the camera
saw it, (3, H, W) uint8 RGB, where `Preparer.natural` asks for that."""


@dataclass(frozen=True)
class Preparer:
    """Makes training tensors of samples. `train_ids` takes the data set's train ids to the generator's."""

    spec: PreprocessSpec
    augmented: bool
    train_ids: NDArray[np.uint8] | None
    natural: bool = False
    """Of unlabelled samples: give the image before its colours were changed, too."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Pair:
        """Unlabelled where `train_ids` is None, whatever the data set has: a target's labels are never seen."""
        labels = sample.label_map if self.train_ids is not None else None
        if self.augmented:
            natural, labels = crop(sample.image, labels, self.spec.size, rng)
            pixels = _tensor(recolour(natural, rng))
            seen = _tensor(natural.copy()) if self.natural else pixels  # torch wants what it may write to
        else:
            seen = pixels = resize(sample.image, self.spec)
            labels = None if labels is None else resize_label_map(labels, self.spec.size)
        if labels is None or self.train_ids is None:
            return pixels, seen if self.natural else torch.empty(0, dtype=torch.uint8)
        return pixels, torch.from_numpy(np.asarray(cv2.LUT(labels, self.train_ids), np.uint8))


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


def resize(image: Image, spec: PreprocessSpec) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, height, width) uint8 RGB, five times as fast as `spec.resize_image`.

    It is Pillow's filter in torch's arithmetic: a few values in a thousand are 1 of 255 off, single ones 2
    (benchmarks/loading.py, tests/test_data.py).
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    if image.shape[:2] != spec.size:
        pixels = functional.interpolate(pixels[None], spec.size, mode=spec.resize, antialias=True)[0]
    return pixels.contiguous()


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
