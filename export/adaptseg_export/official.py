"""The AdaptSegNet authors' released weights as a checkpoint, so that they can be exported without training."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urldefrag

from torch import Tensor

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LABEL_SETS, find_label_set
from adaptseg_training.checkpoint import Checkpoint
from adaptseg_training.config import GeneratorConfig, TrainConfig
from adaptseg_training.models import build_generator
from adaptseg_training.models.official import from_official, is_official
from adaptseg_training.models.tensor_files import is_url, read_tensors
from adaptseg_training.models.weights import WeightsReport, load_tensors

SIZE = (512, 1024)
"""(height, width) at which the authors score: Cityscapes halved."""
PRESET = "adaptsegnet release"
_HEADS = ("layer6", "layer5", "classifier")
"""Heads of the main level: multi-level, single-level, VGG-16. A multi-level file's layer5 is its aux head."""


def read_release(place: str, label_set: str = "") -> tuple[Checkpoint, WeightsReport]:
    """The main level of an authors' file, a path or a URL, and what became of its tensors.

    Backbone, blocks, levels and class count are read from names and shapes. `label_set` says what the classes are
    where their number does not. ConfigError if the file is no AdaptSegNet release or lacks a tensor.
    """
    # Keys of DeepLab's own init file begin with Scale.; older files lack batch norm's counters, which nothing needs.
    tensors = {key.removeprefix("Scale."): tensor for key, tensor in read_tensors(place).items()}
    if not is_official(tensors):
        raise ConfigError(f"{place} has no AdaptSegNet head (conv2d_list). Your own runs: adaptseg-export RUN BUNDLE.")
    labels = _label_set(place, _classes(tensors), label_set)
    config = TrainConfig(label_set=labels, generator=_generator_config(tensors, _file_name(place)))
    generator = build_generator(replace(config.generator, weights="none"), len(find_label_set(labels)), aux=False)
    report = load_tensors(generator, from_official(tensors), _file_name(place))
    if report.initial:
        raise ConfigError(f"{place} lacks tensors of its own network; is it whole?\n{report}")
    command = shlex.join(["adaptseg-export", "--from-adaptsegnet", place, "BUNDLE"])
    return Checkpoint(Path(_file_name(place)), config, 0, generator.state_dict(), {}, command, PRESET), report


def _generator_config(tensors: Mapping[str, Tensor], weights: str) -> GeneratorConfig:
    """What the reference code runs: two of the four branches, batch norm whose statistics moved, Caffe's colours."""
    return GeneratorConfig(
        backbone="vgg16" if any(key.startswith("features.") for key in tensors) else "resnet101",
        resnet_layers=_resnet_layers(tensors),
        aspp_branches=2,
        bn="reference",
        weights=weights,
        normalisation="caffe",
    )


def _resnet_layers(tensors: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    found = [re.match(r"layer([1-4])\.(\d+)\.", key) for key in tensors]
    blocks = {(int(m[1]), int(m[2])) for m in found if m is not None}
    if not blocks:
        return GeneratorConfig().resnet_layers
    a, b, c, d = (max((block + 1 for stage, block in blocks if stage == s), default=0) for s in (1, 2, 3, 4))
    return a, b, c, d


def _classes(tensors: Mapping[str, Tensor]) -> int:
    head = next(head for head in _HEADS if any(key.startswith(f"{head}.conv2d_list.") for key in tensors))
    return int(next(tensor.shape[0] for key, tensor in tensors.items() if key.startswith(f"{head}.conv2d_list.")))


def _label_set(place: str, classes: int, wanted: str) -> str:
    fitting = [labels.name for labels in LABEL_SETS.values() if len(labels) == classes]
    if not wanted and len(fitting) == 1:
        return fitting[0]
    try:
        if wanted and len(find_label_set(wanted)) == classes:
            return wanted
    except ValueError as error:
        raise ConfigError(f"--label-set: {error}.") from error
    known = ", ".join(f"{labels.name} ({len(labels)})" for labels in LABEL_SETS.values())
    raise ConfigError(
        f"{place} predicts {classes} classes; --label-set must say which: one of {known}, or names: road,sky."
    )


def _file_name(place: str) -> str:
    return Path(urldefrag(place).url if is_url(place) else place).name
