"""The moving average of a generator's weights: against torch's own, what is deployed, and a resume to the same bits."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from adaptseg_serve.errors import ConfigError
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.averaging import follow
from adaptseg_training.batch import Batch
from adaptseg_training.config import (
    DomainConfig,
    GeneratorConfig,
    LevelConfig,
    OptimiserConfig,
    SelfTrainingConfig,
    TrainConfig,
)
from adaptseg_training.dry_run import plan

SIZE = (48, 64)
TINY = TrainConfig(
    generator=GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none", bn="reference"),
    aux=LevelConfig(0, 0),
    main=LevelConfig(1.0, 0),
    optimiser=OptimiserConfig(lr=1e-3, average=0.5),
    source=DomainConfig(size=SIZE),
)
LATE = 10_000
"""A step at which the momentum is whole."""


def _batch(seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 3, *SIZE), generator=random, dtype=torch.uint8)
    return Batch(images, torch.randint(0, 4, (2, *SIZE), generator=random, dtype=torch.uint8), None)


def _adaptation(config: TrainConfig = TINY) -> Adaptation:
    torch.manual_seed(0)
    return Adaptation(config, 4, torch.device("cpu"))


def _vary(network: nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=random))


def test_it_is_the_average_that_torch_computes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    ours = copy.deepcopy(network)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(network)  # its first update copies
    for seed in range(3):
        _vary(network, seed)
        follow(ours, network, 0.9, LATE + seed)
        theirs.update_parameters(network)
    for name, value in theirs.module.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


def test_the_average_of_few_networks_is_their_mean() -> None:
    network = nn.Linear(3, 2)
    average, seen = copy.deepcopy(network), [network.weight.detach().clone()]
    for step in range(4):
        _vary(network, step)
        follow(average, network, 0.999, step)
        seen.append(network.weight.detach().clone())
    torch.testing.assert_close(average.weight, torch.stack(seen).mean(0))


def test_the_average_is_deployed_and_training_goes_on_as_without_it() -> None:
    averaged, plain = _adaptation(), _adaptation(replace(TINY, optimiser=OptimiserConfig(lr=1e-3)))
    assert plain.deployed is plain.generator
    for step in range(3):
        averaged.step(step, [_batch(step)])
        plain.step(step, [_batch(step)])
    for name, value in plain.generator.state_dict().items():
        assert torch.equal(averaged.generator.state_dict()[name], value), name
    weight = averaged.deployed.main.branches[0].weight
    assert not torch.equal(weight, averaged.generator.main.branches[0].weight)
    assert all(p.grad is None for p in averaged.deployed.parameters())


def test_a_resumed_step_is_the_uninterrupted_one_bit_for_bit() -> None:
    whole, first = _adaptation(), _adaptation()
    for step in range(2):
        whole.step(step, [_batch(step)])
    first.step(0, [_batch(0)])
    torch.manual_seed(7)
    second = Adaptation(TINY, 4, torch.device("cpu"))
    second.load_state_dict(first.state_dict())
    second.step(1, [_batch(1)])
    for ours, theirs in ((second.generator, whole.generator), (second.deployed, whole.deployed)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name


def test_the_plan_of_a_dry_run_names_the_optimiser_and_what_is_deployed() -> None:
    config = replace(TINY, optimiser=OptimiserConfig(algorithm="adamw", lr=1e-3, weight_decay=0.01, average=0.5))
    lines = "\n".join(plan(config, _adaptation(config)))
    assert "AdamW: lr 0.001, heads x10, weight decay 0.01" in lines
    assert "SGD" not in lines
    assert "deployed: the moving average of the generator's weights, momentum 0.5" in lines


def test_self_training_has_its_own_average() -> None:
    with pytest.raises(ConfigError, match="teacher"):
        _adaptation(replace(TINY, target=TINY.source, self_training=SelfTrainingConfig(weight=1)))
