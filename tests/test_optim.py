"""Parameter groups, the repeated update of the reference code, the schedule."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from adaptseg_training.config import GeneratorConfig, OptimiserConfig
from adaptseg_training.models import Discriminator, Generator, build_generator
from adaptseg_training.optim import (
    RepeatingSgd,
    discriminator_optimiser,
    generator_optimiser,
    occurrences,
    poly,
    set_lr,
)

CONFIG = OptimiserConfig()


def _generator() -> Generator:
    with torch.device("meta"):
        return build_generator(GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"), 3, aux=True)


def test_dedup_lists_every_trained_parameter_once() -> None:
    generator = _generator()
    optimiser = generator_optimiser(generator, CONFIG)
    listed = [p for group in optimiser.param_groups for p in group["params"]]
    assert set(listed) == {p for p in generator.parameters() if p.requires_grad}
    assert len(listed) == len(set(listed))
    assert type(optimiser) is SGD


def test_heads_learn_ten_times_faster() -> None:
    generator = _generator()
    for params in ("dedup", "legacy"):
        optimiser = generator_optimiser(generator, replace(CONFIG, param_groups=params))
        for group in optimiser.param_groups:
            heads = any(p is q for p in group["params"] for q in generator.main.parameters())
            assert group["lr"] == pytest.approx(2.5e-3 if heads else 2.5e-4)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("backbone.conv1.weight", 1),
        ("backbone.layer3.0.conv2.weight", 3),
        ("backbone.layer1.0.downsample.0.weight", 4),
        ("backbone.layers.conv1_1.weight", 1),
        ("backbone.blocks.0.0.conv_dw.weight", 1),
    ],
)
def test_occurrences(name: str, times: int) -> None:
    assert occurrences(name) == times


@pytest.mark.parametrize("nesterov", [False, True])
def test_repeating_once_is_sgd(nesterov: bool) -> None:
    torch.manual_seed(0)
    ours = nn.Linear(4, 3).double()
    theirs = copy.deepcopy(ours)
    settings: Any = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": nesterov}
    pairs = (
        (ours, RepeatingSgd([{"params": list(ours.parameters()), "repeats": 1}], **settings)),
        (theirs, SGD(theirs.parameters(), **settings)),
    )
    x = torch.randn(5, 4, dtype=torch.float64)
    for _ in range(3):
        for module, optimiser in pairs:
            optimiser.zero_grad()
            module(x).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-14, atol=0)


def test_adamw_by_hand() -> None:
    """Loshchilov & Hutter, algorithm 2: weight decay acts on the weight, scaled by the learning rate, not by Adam."""
    generator = _generator().to_empty(device="cpu")
    config = replace(CONFIG, algorithm="adamw", lr=1e-3, weight_decay=0.1, head_lr_factor=4)
    optimiser = generator_optimiser(generator, config)
    assert type(optimiser) is AdamW
    for param, lr in ((next(generator.backbone.parameters()), 1e-3), (next(generator.main.parameters()), 4e-3)):
        with torch.no_grad():
            param.fill_(2.0)
        param.grad = torch.full_like(param, -3.0)
        optimiser.step()
        expected = torch.full_like(param, 2.0 * (1 - lr * 0.1) + lr)  # the first step is lr long, against the gradient
        torch.testing.assert_close(param.detach(), expected, rtol=1e-6, atol=0)
        param.grad = None


def test_repeating_thrice_by_hand() -> None:
    param = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = RepeatingSgd([{"params": [param], "repeats": 3}], lr=0.1, momentum=0.9, weight_decay=0.5)
    value, momentum = 2.0, 0.0
    for gradient in (1.0, -3.0):
        param.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        for _ in range(3):
            momentum = 0.9 * momentum + gradient + 0.5 * value
            value -= 0.1 * momentum
        assert float(param.detach()) == pytest.approx(value, rel=1e-14)


def test_repeating_sgd_resumes() -> None:
    param = nn.Parameter(torch.ones(3))
    optimiser = RepeatingSgd([{"params": [param], "repeats": 2}], lr=0.1, momentum=0.9)
    param.grad = torch.ones(3)
    optimiser.step()
    other = nn.Parameter(param.detach().clone())
    resumed = RepeatingSgd([{"params": [other], "repeats": 2}], lr=0.1, momentum=0.9)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    other.grad = torch.ones(3)
    optimiser.step()
    resumed.step()
    assert torch.equal(param, other)


def test_discriminators_use_adam() -> None:
    optimiser = discriminator_optimiser(Discriminator(3), CONFIG)
    group = optimiser.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.9, 0.99), 1e-8, 0)


def test_poly_schedule() -> None:
    assert poly(0, CONFIG) == 1
    np.testing.assert_allclose(poly(125_000, CONFIG), 0.5**0.9)
    assert poly(250_000, CONFIG) == 0
    assert poly(300_000, CONFIG) == 0


def test_schedule_keeps_the_ratio_of_groups() -> None:
    optimiser = generator_optimiser(_generator(), CONFIG)
    for share in (0.5, 0.25):
        set_lr(optimiser, share)
        assert {group["lr"] for group in optimiser.param_groups} == {2.5e-4 * share, 2.5e-3 * share}
