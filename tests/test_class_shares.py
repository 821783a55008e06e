"""Balanced class shares: the weights against their definition, what the discriminator then sees, and a resume."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.class_shares import ClassShares, patch_shares
from adaptseg_training.config import DomainConfig, GeneratorConfig, LevelConfig, OptimiserConfig, TrainConfig
from adaptseg_training.dry_run import plan
from adaptseg_training.world import World

CPU = torch.device("cpu")
CLASSES, CELLS = 3, (4, 6)
SIZE = (128, 192)
WANTED = (0.5, 0.3, 0.2)
TINY = TrainConfig(
    generator=GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"),
    aux=LevelConfig(0, 0),
    main=LevelConfig(1.0, 0.01),
    balance_shares=4,
    optimiser=OptimiserConfig(lr=1e-3),
    source=DomainConfig(size=(64, 96)),
    target=DomainConfig(size=(64, 96)),
)


def _labels(seed: int, shares: tuple[float, ...] = (0.2, 0.2, 0.6), images: int = 8) -> Tensor:
    """(N, H, W) uint8 in blocks of 16 pixels, so that patches are mixed; a row of ignored pixels."""
    random = np.random.default_rng(seed)
    blocks = random.choice(len(shares), (images, SIZE[0] // 16, SIZE[1] // 16), p=shares)
    labels = torch.from_numpy(blocks.repeat(16, 1).repeat(16, 2).astype(np.uint8))
    labels[:, 0] = 255
    return labels


def _logits(shares: tuple[float, ...] = WANTED) -> Tensor:
    return torch.tensor(shares).log().view(1, -1, 1, 1).expand(2, -1, 3, 5)


def _shares(weights: Tensor, labels: Tensor) -> Tensor:
    """What the definition says of weighted patches."""
    weighted = (weights.permute(0, 2, 3, 1) * patch_shares(labels, CELLS, CLASSES)).sum((0, 1, 2))
    return weighted / weighted.sum()


def test_patch_shares_are_those_of_each_cells_pixels() -> None:
    labels = _labels(0)
    shares = patch_shares(labels, CELLS, CLASSES).numpy()
    for n, y, x in ((0, 0, 0), (3, 2, 5), (7, 3, 1)):
        cell = labels[n, 32 * y : 32 * y + 32, 32 * x : 32 * x + 32].numpy()
        np.testing.assert_allclose(shares[n, y, x], [(cell[cell < 255] == c).mean() for c in range(CLASSES)], atol=1e-6)
    ignored = torch.full((1, *SIZE), 255)
    assert not patch_shares(ignored, CELLS, CLASSES).any()


def test_the_weighted_source_has_the_targets_shares() -> None:
    shares = ClassShares(CLASSES, 1000, CPU, World())
    labels = _labels(0)
    for _ in range(20):
        scalars = shares.follow(labels, _logits())
    weights = shares.weights(labels, CELLS)
    assert weights.shape == (8, 1, *CELLS)
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(_shares(weights, labels), torch.tensor(WANTED), atol=2e-3, rtol=0)
    assert float(scalars["shares/apart"]) == pytest.approx(0.4, abs=0.05)
    assert float(scalars["shares/left"]) < 3e-3
    assert float(scalars["shares/effective"]) == pytest.approx(
        float(weights.mean() ** 2 / (weights**2).mean()), abs=1e-5
    )


def test_the_targets_shares_are_the_mean_of_all_its_batches() -> None:
    """Those of late alone would follow a generator that drifts."""
    shares = ClassShares(CLASSES, 1000, CPU, World())
    for predicted in (WANTED, (0.1, 0.3, 0.6), (0.3, 0.6, 0.1)):
        for _ in range(100):
            scalars = shares.follow(_labels(0), _logits(predicted))
    mean = torch.tensor([0.3, 0.4, 0.3])
    torch.testing.assert_close(_shares(shares.weights(_labels(0), CELLS), _labels(0)), mean, atol=2e-3, rtol=0)
    assert float(scalars["shares/left"]) < 3e-3


def test_they_are_the_weights_of_least_relative_entropy() -> None:
    """Entropy balancing has one answer: scipy's, from the dual problem."""
    labels = _labels(1)
    shares = ClassShares(CLASSES, 1000, CPU, World())
    for _ in range(60):
        shares.follow(labels, _logits())
    patches = patch_shares(labels, CELLS, CLASSES).flatten(0, 2).double().numpy()

    def dual(tilts: np.ndarray) -> float:
        return float(np.log(np.exp(patches @ tilts).sum()) - tilts @ np.array(WANTED))

    tilts = minimize(dual, np.zeros(CLASSES), tol=1e-10).x
    theirs = np.exp(patches @ tilts)
    ours = shares.weights(labels, CELLS).flatten().double().numpy()
    np.testing.assert_allclose(ours, theirs / theirs.mean(), rtol=1e-3)


def test_no_weight_passes_the_limit() -> None:
    shares = ClassShares(CLASSES, 2, CPU, World())
    labels = _labels(2, (0.01, 0.01, 0.98))
    for _ in range(20):
        scalars = shares.follow(labels, _logits())
    weights = shares.weights(labels, CELLS)
    assert float(weights.max()) <= 2 + 1e-4
    assert float(weights.min()) >= 1 / 2 - 1e-4
    assert float(weights.mean()) == pytest.approx(1, abs=0.02)
    assert float(scalars["shares/left"]) > 0.1


@pytest.mark.parametrize("absent", ["everything ignored", "a class the source lacks"])
def test_what_the_source_lacks_breaks_nothing(absent: str) -> None:
    shares = ClassShares(CLASSES, 4, CPU, World())
    labels = _labels(3, (0.5, 0.5, 0.0)) if absent.startswith("a class") else torch.full((2, *SIZE), 255)
    for _ in range(50):
        shares.follow(labels, _logits())
    weights = shares.weights(labels, CELLS)
    assert float(weights.mean()) == pytest.approx(1, abs=0.01)
    ignored = shares.weights(torch.full((1, *SIZE), 255), CELLS)
    assert torch.equal(ignored, torch.ones_like(ignored))
    if absent.startswith("a class"):  # the two that are there get what the third can't take, in their own proportion
        torch.testing.assert_close(_shares(weights, labels)[:2], torch.tensor((5 / 8, 3 / 8)), atol=0.01, rtol=0)
    shares.follow(_labels(3), _logits())
    assert bool(shares.weights(labels, CELLS).isfinite().all())


def test_two_processes_see_what_one_does() -> None:
    whole = ClassShares(CLASSES, 4, CPU, World())
    labels, logits = _labels(4), torch.cat([_logits(), _logits((0.1, 0.1, 0.8))])

    class Other(World):
        """Rank 0 of two; the other one's part comes along."""

        def __init__(self) -> None:
            super().__init__(0, 2)

        def gather(self, mine: Any) -> list[Any]:
            other = ClassShares(CLASSES, 4, CPU, World())
            other.follow(labels[4:], logits[2:])
            return [mine, (other._patches, other._target)]

    half = ClassShares(CLASSES, 4, CPU, Other())
    whole.follow(labels, logits)
    half.follow(labels[:4], logits[:2])
    torch.testing.assert_close(half.weights(labels, CELLS), whole.weights(labels, CELLS))


def _batch(seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 2, 3, 64, 96), generator=random, dtype=torch.uint8)
    labels = torch.from_numpy(np.random.default_rng(seed).choice(CLASSES, (2, 2, 3), p=(0.1, 0.1, 0.8)))
    return Batch(images[0], labels.repeat_interleave(32, 1).repeat_interleave(32, 2).to(torch.uint8), images[1])


def _adaptation(config: TrainConfig = TINY) -> Adaptation:
    torch.manual_seed(0)
    return Adaptation(config, CLASSES, CPU)


def _gradients(config: TrainConfig) -> tuple[list[Tensor], list[Tensor]]:
    adaptation = _adaptation(config)
    adaptation.backward(_batch(0))
    networks = adaptation.generator, adaptation.discriminators
    ours, theirs = ([p.grad for p in n.parameters() if p.grad is not None] for n in networks)
    return ours, theirs


def test_only_the_discriminators_gradient_changes() -> None:
    generator, discriminator = _gradients(TINY)
    plain_generator, plain_discriminator = _gradients(replace(TINY, balance_shares=1.0))
    assert all(torch.equal(a, b) for a, b in zip(generator, plain_generator, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(discriminator, plain_discriminator, strict=True))


def test_a_resumed_step_is_the_uninterrupted_one_bit_for_bit() -> None:
    whole, first = _adaptation(), _adaptation()
    for step in range(2):
        whole.step(step, [_batch(step)])
    first.step(0, [_batch(0)])
    second = _adaptation()
    second.load_state_dict(first.state_dict())
    second.step(1, [_batch(1)])
    ours, theirs = second.state_dict(), whole.state_dict()
    for part in ("generator", "discriminators", "class_shares"):
        for name, value in theirs[part].items():
            assert torch.equal(torch.as_tensor(ours[part][name]), torch.as_tensor(value)), (part, name)


def test_a_run_begun_without_can_go_on_with_it() -> None:
    plain = _adaptation(replace(TINY, balance_shares=1.0))
    plain.step(0, [_batch(0)])
    balanced = _adaptation()
    balanced.load_state_dict(plain.state_dict())
    assert "shares/left" in balanced.step(1, [_batch(1)])


def test_the_plan_says_so() -> None:
    assert any("class shares, weights up to 4" in line for line in plan(TINY, _adaptation()))
