"""Files dropped into the golden folder are read by their names; independent.py writes variants that it may lack."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from golden import recipe
from golden.independent import Spec, write_forward, write_training
from golden.test_golden_forward import IMAGES, check_forward
from golden.training import check_training
from golden.variants import Variant, forward_variant, train_variant

SINGLE = {"1": (0.0, 0.0), "2": (1.0, 1e-3)}
SINGLE_LS = {"1": (0.0, 0.0), "2": (1.0, 1e-2)}
F64 = torch.float64
VGG = Spec(model="vgg16", heads="single", weights=SINGLE)

TRAININGS = {
    "train_tiny_multi_vanilla_legacy": Spec(groups="legacy", iterations=2),
    "train_tiny_multi_vanilla_torch2_f64": Spec(groups="torch2", iterations=2, dtype=F64),
    "train_tiny_single_ls_dedup": Spec(weights=SINGLE_LS, least_squares=True),
    "train_tiny_single_ls_legacy_itersize2_f64": Spec(
        weights=SINGLE_LS, least_squares=True, groups="legacy", batches=2, dtype=F64
    ),
    "train_tiny_multi_vanilla_aspp4_bneval_dedup_f64": Spec(branches=4, frozen=True, dtype=F64),
    "train_tiny_sourceonly_torch2": Spec(weights={"1": (0, 0), "2": (1, 0)}, groups="torch2"),
    "train_vgg16_single_vanilla_dedup": VGG,
    "train_vgg16_single_ls_aspp4_legacy": replace(
        VGG, number="1", weights={"1": (1.0, 1e-2)}, least_squares=True, branches=4, head_factor=1
    ),
    "train_resnet101_multi_vanilla_dedup": Spec(model="resnet101", source_size=(64, 128)),
}


@recipe.needs_golden
@pytest.mark.parametrize("name", TRAININGS)
def test_training_dropped_in(name: str, tmp_path: Path) -> None:
    write_training(tmp_path / f"{name}.npz", TRAININGS[name])
    check_training(tmp_path / f"{name}.npz")


@recipe.needs_golden
@pytest.mark.parametrize(("model", "heads"), [("resnet101", "multi"), ("vgg16", "single"), ("tiny", "single")])
def test_forward_dropped_in(model: str, heads: str, tmp_path: Path) -> None:
    path = tmp_path / f"forward_{model}_{heads}.npz"
    write_forward(path, Spec(model=model, heads=heads), {"a": IMAGES["a"]})
    check_forward(path)


@recipe.needs_golden
def test_numbers_that_are_off_are_found(tmp_path: Path) -> None:
    path = tmp_path / "train_tiny_single_vanilla_dedup_f64.npz"
    write_training(path, Spec(weights=SINGLE, dtype=F64))
    whole = recipe.arrays(path)
    for name, said in (("loss_D1_tgt", "loss_D1_tgt"), ("G_delta_l2", "G: conv1"), ("D2_delta_first8", "D2: conv1")):
        np.savez(path, **{**whole, name: whole[name] * (1 + 1e-6)})
        with pytest.raises(AssertionError, match=said):
            check_training(path)


def test_words_come_in_any_order() -> None:
    assert train_variant(Path("train_tiny_f64_itersize2_legacy_ls_single.npz")) == Variant(
        "tiny", "single", gan="ls", accumulate=2, groups="legacy", double=True
    )
    assert forward_variant(Path("forward_resnet101_multi.npz")) == Variant("resnet101", "multi")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("train_tiny_multi_vanila_dedup", "unknown word 'vanila'"),
        ("train_multi_vanilla_dedup", "names no model"),
        ("train_tiny_multi_dedup_legacy", "'legacy' says again"),
        ("train_tiny_vgg16_multi", "'vgg16' says again"),
        ("forward_tiny_multi_legacy", "its name says more"),
        ("forward_tiny_sourceonly", "its name says more"),
        ("forward_tiny_multi_f16", "unknown word 'f16'"),
    ],
)
def test_names_that_say_nothing_certain_fail(name: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        (forward_variant if name.startswith("forward") else train_variant)(Path(f"{name}.npz"))
