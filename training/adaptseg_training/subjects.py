"""What can be scored: a checkpoint or a bundle, opened."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.labels import find_label_set
from adaptseg_serve.predictor import Predictor, load_predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.checkpoint import load_checkpoint, load_generator, model_size
from adaptseg_training.config import RunConfig
from adaptseg_training.devices import choose_device
from adaptseg_training.generator_predictor import GeneratorPredictor
from adaptseg_training.models.from_bundle import is_bundle
from adaptseg_training.models.generator import preprocess_spec
from adaptseg_training.models.offsets import add_offsets, parse_offsets
from adaptseg_training.precision import set_up_arithmetic

Size = tuple[int, int]


@dataclass(frozen=True)
class Subject:
    """A predictor, what it wants done to images, the label set it predicts, and its name for people."""

    predictor: Predictor
    spec: PreprocessSpec
    label_set: str
    name: str
    generator: nn.Module | None = None
    """The network itself; None for a bundle, which says label maps only."""


def open_subject(path: Path, size: Size | None = None, device: str = "cpu") -> Subject:
    """The bundle, checkpoint or run in folder `path`, to see images at `size` (None: its own)."""
    return bundle_subject(path, size) if is_bundle(str(path)) else checkpoint_subject(path, size, device)


def bundle_subject(path: Path, size: Size | None = None) -> Subject:
    """Its graph takes images of every size."""
    bundle = open_bundle(path)
    spec = replace(bundle.preprocess, size=size or bundle.preprocess.size)
    return Subject(load_predictor(bundle), spec, bundle.labels.name, f"{bundle.name} {bundle.version}")


def checkpoint_subject(
    path: Path, size: Size | None = None, device: str = "cpu", class_offsets: Sequence[str] = ()
) -> Subject:
    """A checkpoint, or a run's best or last one; its own size is model_size's."""
    checkpoint, place = load_checkpoint(path), choose_device(device, flag="--device")
    set_up_arithmetic(RunConfig(), place)
    spec = preprocess_spec(checkpoint.config.generator, size or model_size(checkpoint.config))
    labels = find_label_set(checkpoint.config.label_set)
    generator = load_generator(checkpoint).to(place)
    add_offsets(generator, parse_offsets(class_offsets, labels), labels)
    predictor = GeneratorPredictor(generator, spec, place)
    return Subject(predictor, spec, checkpoint.config.label_set, f"{path} step {checkpoint.step}", generator)
