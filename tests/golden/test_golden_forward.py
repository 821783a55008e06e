"""Logits of every forward_*.npz, from the same weights and images, in evaluation mode."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptseg_training.models import Generator, build_generator
from golden import recipe
from golden.variants import Variant, forward_variant

IMAGES = {"a": (101, (1, 3, 65, 129)), "b": (102, (2, 3, 128, 256))}
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
_NAME = re.compile(r"(?P<image>[ab])_(?P<what>.+?)(?P<aspp4>_aspp4)?(?P<f64>_f64)?")


@pytest.mark.parametrize("path", recipe.files("forward_*.npz"))
def test_forward(path: Path) -> None:
    check_forward(path)


def check_forward(path: Path) -> None:
    """AssertionError, naming the array, unless our networks give the file's numbers within its tolerances."""
    variant = forward_variant(path)
    tensors = recipe.official_tensors(variant.model, variant.losses)
    expected = recipe.arrays(path)
    generators: dict[tuple[bool, bool], Generator] = {}
    answers: dict[tuple[str, bool, bool], dict[str, Tensor]] = {}
    for name, array in expected.items():
        parts = _NAME.fullmatch(name)
        assert parts is not None, f"unknown array {name} in {path.name}"
        kind = (variant.branches == 4 or bool(parts["aspp4"]), variant.double or bool(parts["f64"]))
        if kind not in generators:
            generators[kind] = _generator(variant, tensors, *kind)
        key = (parts["image"], *kind)
        if key not in answers:
            answers[key] = _answers(generators[kind], parts["image"])
        _compare(f"{path.name}: {name}", answers[key], parts["what"], array)


def _generator(variant: Variant, tensors: dict[str, Tensor], aspp4: bool, double: bool) -> Generator:
    branches: Literal[2, 4] = 4 if aspp4 else 2
    config = replace(variant.generator, aspp_branches=branches)
    generator = build_generator(config, recipe.CLASSES, aux=variant.losses == "multi")
    recipe.load_official(generator, tensors)
    return generator.eval().to(torch.float64 if double else torch.float32)


def _answers(generator: Generator, name: str) -> dict[str, Tensor]:
    """What a golden file calls its arrays -> our tensors."""
    answers: dict[str, Tensor] = {}
    for module, watched in generator.get_submodule("backbone").named_children():
        watched.register_forward_hook(lambda _m, _i, output, module=module: answers.update({module: output.clone()}))
    images = recipe.image(*IMAGES[name]).to(next(generator.parameters()).dtype)
    with torch.no_grad():
        logits = generator(images)
    answers |= {"logits": logits.main, "logits2": logits.main}
    if logits.aux is not None:
        answers["logits1"] = logits.aux
    return answers


def _compare(name: str, answers: dict[str, Tensor], what: str, expected: NDArray[Any]) -> None:
    layer, _, measure = what.partition("_")
    if what == "after_maxpool":
        layer = "maxpool"
    assert layer in answers, f"unknown array {name}"
    found = answers[layer]
    if measure == "shape":
        assert tuple(found.shape) == tuple(expected)
        return
    if measure == "mean_hw":
        found = found.mean((2, 3))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=TOLERANCE[found.dtype], err_msg=name)
