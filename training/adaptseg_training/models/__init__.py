"""The networks: generators (backbone and ASPP heads), discriminators, and what stands before and behind them."""

from adaptseg_training.models.discriminator import Discriminator
from adaptseg_training.models.generator import Generator, Logits, build_generator, preprocess_spec
from adaptseg_training.models.normalise import Normalise
from adaptseg_training.models.upsample import upsample

__all__ = ["Discriminator", "Generator", "Logits", "Normalise", "build_generator", "preprocess_spec", "upsample"]
