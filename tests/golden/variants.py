"""The variant that a golden file's name spells. A word that is unknown, or contradicts another, fails and is named.

    forward: model heads [options] [f64]                   forward_resnet101_multi
    train:   model losses [gan] [options] groups [f64]     train_tiny_multi_vanilla_aspp4_dedup_f64

model    resnet101 | tiny | tiny1121 (layers 1, 1, 2, 1) | vgg16
heads    multi | single: two heads, or one
losses   multi | single | sourceonly: which weights of eq. 5 aren't 0 (the network's heads are those of the file)
gan      vanilla (default) | ls
options  aspp4: four branches instead of two. itersizeN: N batches a step. bneval: frozen batch norm
groups   dedup (default) | legacy | torch2: the duplicate list under PyTorch 2's SGD
f64      float64 instead of float32 (f32)

The words may come in any order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from adaptseg_training.config import (
    Gan,
    GeneratorConfig,
    LevelConfig,
    OptimiserConfig,
    RunConfig,
    TrainConfig,
)

Model = Literal["resnet101", "tiny", "vgg16"]
Losses = Literal["multi", "single", "sourceonly"]
Groups = Literal["dedup", "legacy", "torch2"]

# (seg aux, adv aux, adv main); least squares on one level has a weight of its own.
_WEIGHTS = {"multi": (0.1, 0.0002, 0.001), "single": (0.0, 0.0, 0.001), "sourceonly": (0.0, 0.0, 0.0)}
_SINGLE_LS = (0.0, 0.0, 0.01)
TARGET_SIZE = (64, 128)


@dataclass(frozen=True)
class Variant:
    model: Model
    losses: Losses
    """For forward files: which heads, multi or single."""
    gan: Gan = "vanilla"
    branches: Literal[2, 4] = 2
    accumulate: int = 1
    frozen: bool = False
    groups: Groups = "dedup"
    double: bool = False

    @property
    def generator(self) -> GeneratorConfig:
        return GeneratorConfig(
            backbone="vgg16" if self.model == "vgg16" else "resnet101",
            resnet_layers=(1, 1, 2, 1) if self.model == "tiny" else (3, 4, 23, 3),
            aspp_branches=self.branches,
            bn="frozen" if self.frozen else "reference",
            weights="none",
        )

    @property
    def source_size(self) -> tuple[int, int]:
        return TARGET_SIZE if self.model == "resnet101" else (96, 160)

    @property
    def config(self) -> TrainConfig:
        single_ls = self.losses == "single" and self.gan == "ls"
        seg_aux, adv_aux, adv_main = _SINGLE_LS if single_ls else _WEIGHTS[self.losses]
        groups: Literal["dedup", "legacy"] = "dedup" if self.groups == "dedup" else "legacy"
        return TrainConfig(
            generator=self.generator,
            aux=LevelConfig(seg_aux, adv_aux),
            main=LevelConfig(1.0, adv_main),
            gan=self.gan,
            optimiser=OptimiserConfig(param_groups=groups, accumulate=self.accumulate),
            run=RunConfig(device="cpu"),
        )


def forward_variant(path: Path) -> Variant:
    variant = _variant(path, path.stem.removeprefix("forward_").split("_"))
    training = replace(variant, model="tiny", losses="multi", branches=2, double=False)
    if training != Variant("tiny", "multi") or variant.losses == "sourceonly":
        raise ValueError(f"{path.name}: a forward file has a model, heads, aspp4 and f64; its name says more")
    return variant


def train_variant(path: Path) -> Variant:
    return _variant(path, path.stem.removeprefix("train_").split("_"))


def _variant(path: Path, words: Sequence[str]) -> Variant:
    fields: dict[str, object] = {}
    for word in words:
        meaning = _meaning(path, word)
        if not fields.keys().isdisjoint(meaning):
            raise ValueError(f"{path.name}: {word!r} says again what another word said")
        fields |= meaning
    if "model" not in fields:
        raise ValueError(f"{path.name} names no model; expected resnet101, tiny or vgg16")
    return Variant(**{"losses": "multi", **fields})  # type: ignore[arg-type]  # read from a file


def _meaning(path: Path, word: str) -> dict[str, object]:
    if word in ("tiny1121", *get_args(Model)):
        return {"model": word.removesuffix("1121")}
    if word in get_args(Losses):
        return {"losses": word}
    if word in get_args(Gan):
        return {"gan": word}
    if word in get_args(Groups):
        return {"groups": word}
    if match := re.fullmatch(r"itersize(\d+)", word):
        return {"accumulate": int(match[1])}
    flags: dict[str, dict[str, object]] = {
        "aspp2": {"branches": 2},
        "aspp4": {"branches": 4},
        "bneval": {"frozen": True},
        "bntrain": {"frozen": False},
        "f64": {"double": True},
        "f32": {"double": False},
    }
    if word in flags:
        return flags[word]
    raise ValueError(f"unknown word {word!r} in {path.name}; tests/golden/variants.py has the grammar")
