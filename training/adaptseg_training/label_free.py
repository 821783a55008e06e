"""A score that needs no labels: how much a generator's classes say about the pixels of unlabelled images.

Information maximisation (Krause et al., 2010; SHOT, Liang et al., 2020): the mutual information of pixel and class,

    infomax = (H(mean over pixels of p) - mean over pixels of H(p)) / log(classes),   0..1, higher is better

with p a pixel's class probabilities and H the entropy. The second term alone, a favourite for choosing checkpoints
(ADVENT minimises it), is best for a generator that calls everything road; the first term is 0 for that one.

Its limits: it rises with confidence, right or wrong, so that it compares checkpoints of one run, not networks or
methods; it rewards evenly used classes, which a road's are not; and what trains on entropy drives it up by itself.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.errors import DataError
from adaptseg_training.evaluate import rounded
from adaptseg_training.generator_predictor import evaluating
from adaptseg_training.models.normalise import Normalise

IMAGES = 32
"""Images a score is taken on, spread evenly over the data set."""


@dataclass(frozen=True)
class LabelFreeScore:
    """All in shares of log(classes), 0..1."""

    marginal_entropy: float
    """Of the mean prediction: 1 if all classes are used alike, 0 if one is used alone."""
    mean_entropy: float
    """Mean of each pixel's: 1 if it knows nothing, 0 if it is sure everywhere."""
    images: int

    @property
    def infomax(self) -> float:
        return self.marginal_entropy - self.mean_entropy

    def summary(self) -> dict[str, float | int | None]:
        """JSON values."""
        return {
            "infomax": rounded(self.infomax),
            "marginal_entropy": rounded(self.marginal_entropy),
            "mean_entropy": rounded(self.mean_entropy),
            "target_images": self.images,
        }


def label_free_score(
    generator: nn.Module, spec: PreprocessSpec, images: ImageSet, device: torch.device, count: int = IMAGES
) -> LabelFreeScore:
    """Of `generator`'s main level, at the size of its logits, on at most `count` of `images`.

    ConfigError if none of the images can be read.
    """
    normalise = Normalise(spec).to(device)
    marginals: list[Tensor] = []
    entropies: list[Tensor] = []
    with torch.inference_mode(), evaluating(generator):
        for index in np.linspace(0, len(images) - 1, min(count, len(images))).astype(int):
            try:
                image = spec.resize_image(images[int(index)].image)
            except DataError:  # training meets the file as well: it names it, and ends or skips it as the flags say
                continue
            pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(device)
            probs = generator(normalise(pixels)).main.double().softmax(1)
            marginals.append(probs.mean((0, 2, 3)))
            entropies.append(entropy(probs).mean())
    if not marginals:
        raise ConfigError("no image can be read to take the label-free score on; look with adaptseg-data preview.")
    marginal = torch.stack(marginals).mean(0)
    scale = math.log(len(marginal))
    mean = float(torch.stack(entropies).mean()) / scale
    return LabelFreeScore(float(entropy(marginal[None])) / scale, mean, len(marginals))


def entropy(probs: Tensor) -> Tensor:
    """(N, C, ...) probabilities over C -> (N, ...) in nats; a probability of 0 adds nothing."""
    nats: Tensor = torch.special.entr(probs).sum(1)
    return nats
