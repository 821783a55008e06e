"""The discriminators' other inputs: feature-level and entropy, and what a wrong config is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from adaptseg_serve.errors import ConfigError
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.config import (
    DomainConfig,
    GeneratorConfig,
    LevelConfig,
    OptimiserConfig,
    SelfTrainingConfig,
    Space,
    TrainConfig,
)
from adaptseg_training.spaces import discriminator_input

CLASSES = 4
SIZE = (256, 256)
TINY = TrainConfig(
    generator=GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"),
    aux=LevelConfig(0, 0),
    main=LevelConfig(1.0, 0.01),
    optimiser=OptimiserConfig(lr=1e-3),
    source=DomainConfig(size=SIZE),
    target=DomainConfig(size=SIZE),
)


def test_entropy_maps_sum_to_the_entropy_over_its_maximum() -> None:
    logits = torch.randn(2, CLASSES, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    maps = discriminator_input("entropy", logits, logits, (5, 6))
    expected = entropy(logits.softmax(1).numpy(), base=CLASSES, axis=1)
    np.testing.assert_allclose(maps.sum(1).numpy(), expected, atol=1e-12)


def test_entropy_of_a_sure_pixel_is_zero_with_a_finite_gradient() -> None:
    logits = torch.tensor([200.0, 0, 0, -200]).view(1, CLASSES, 1, 1).requires_grad_()
    maps = discriminator_input("entropy", logits, logits, (1, 1))
    maps.sum().backward()
    assert float(maps.detach().abs().max()) < 1e-6
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("space", ["feature", "entropy"])
def test_a_step_adapts_in_the_space(space: Space) -> None:
    config = replace(TINY, main=LevelConfig(1.0, 0.01, space))
    torch.manual_seed(0)
    adaptation = Adaptation(config, CLASSES, torch.device("cpu"))
    channels = {"feature": 2048, "entropy": CLASSES}[space]
    assert adaptation.discriminators["main"].conv1.in_channels == channels  # type: ignore[union-attr]
    before = adaptation.discriminators["main"].classifier.weight.detach().clone()  # type: ignore[union-attr, operator]
    losses = adaptation.step(0, [_batch()])
    assert {"seg/main", "adv/main", "disc_source/main", "disc_target/main"} < losses.keys()
    assert not torch.equal(before, adaptation.discriminators["main"].classifier.weight)  # type: ignore[union-attr, arg-type]


def test_feature_level_adaptation_leaves_the_head_alone() -> None:
    """D sees what the head sees: the adversarial gradient reaches the backbone, never the classifier."""
    config = replace(TINY, main=LevelConfig(0.0, 1.0, "feature"))
    torch.manual_seed(0)
    adaptation = Adaptation(config, CLASSES, torch.device("cpu"))
    adaptation.backward(_batch())
    head = [p.grad for p in adaptation.generator.main.parameters()]
    assert all(g is None or not g.any() for g in head)
    backbone = [p.grad for p in adaptation.generator.backbone.parameters() if p.grad is not None]  # type: ignore[attr-defined]
    assert any(g.any() for g in backbone)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (replace(TINY, target=None, fourier=0.1), "--fourier"),
        (replace(TINY, target=None, balance_shares=4), "--balance-shares adapts to target images"),
        (replace(TINY, balance_shares=4, main=LevelConfig(1, 0)), "--balance-shares .* Set --main.adv-weight"),
        (
            replace(TINY, balance_shares=4, main=LevelConfig(1, 1, "feature")),
            "--balance-shares with --main.space feature",
        ),
        (replace(TINY, target=None, self_training=SelfTrainingConfig(weight=1)), "--self-training.weight"),
        (
            replace(TINY, target=DomainConfig(size=(64, 96)), self_training=SelfTrainingConfig(weight=1)),
            "Make them equal",
        ),
        (
            replace(TINY, main=LevelConfig(1, 1, "feature"), target=DomainConfig(size=(128, 256))),
            "at least 256",
        ),
    ],
)
def test_domains_that_cannot_adapt_so_are_told(config: TrainConfig, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Adaptation(config, CLASSES, torch.device("cpu"))


def _batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 1, 3, *SIZE), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (1, *SIZE), generator=random, dtype=torch.uint8)
    return Batch(images[0], labels, images[1])
