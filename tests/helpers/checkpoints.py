"""A checkpoint of the light generator as training writes it, without training."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from adaptseg_serve.labels import CITYSCAPES
from adaptseg_training.checkpoint import GENERATOR, RECORD
from adaptseg_training.config import DomainConfig, GeneratorConfig, TrainConfig
from adaptseg_training.models import Generator, build_generator
from adaptseg_training.parsing import to_settings

SIZE = (64, 96)
PACKAGED = GeneratorConfig(backbone="lite0", weights="packaged", detail=True)
LITE = GeneratorConfig(backbone="lite0", weights="none")


def random_generator() -> Generator:
    """Of 19 classes, aux head included; the same at every call."""
    torch.manual_seed(0)
    return build_generator(LITE, len(CITYSCAPES), aux=True).eval()


def packaged_generator() -> Generator:
    """The packaged model's: it is sure of most pixels, as a random one is of none."""
    return build_generator(PACKAGED, len(CITYSCAPES), aux=True).eval()


def write_checkpoint(folder: Path, generator: Generator, built_from: GeneratorConfig = LITE) -> Path:
    """`generator` with its record, trained on frames of SIZE; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = replace(
        TrainConfig(), generator=built_from, source=DomainConfig(size=SIZE, root=(Path("/home/me/streets"),))
    )
    record = {"step": 7, "preset": "smoke", "command": "adaptseg-train smoke --source.root /home/me/streets"}
    (folder / RECORD).write_text(json.dumps({**record, "metrics": {"miou": 0.5}, "config": to_settings(config)}))
    save_file(generator.state_dict(), folder / GENERATOR)
    return folder
