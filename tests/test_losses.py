"""Losses against their formulas, written out in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptseg_training.config import Gan
from adaptseg_training.losses import (
    SOURCE,
    TARGET,
    adversarial_loss,
    discriminator_accuracy,
    discriminator_loss,
    domain_loss,
    segmentation_loss,
)


def _scores(seed: int = 0) -> Tensor:
    return 3 * torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_segmentation_loss_is_the_mean_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 6, 7), dtype=torch.uint8)
    labels[0, :3] = 255
    log_probs = np.log(np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True))
    terms = [-log_probs[n, labels[n, y, x], y, x] for n, y, x in np.argwhere(labels.numpy() != 255)]
    assert float(segmentation_loss(logits, labels)) == pytest.approx(np.mean(terms), rel=1e-12)
    assert float(segmentation_loss(logits, labels.long())) == pytest.approx(np.mean(terms), rel=1e-12)


def test_segmentation_loss_without_a_labelled_pixel_is_zero() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("domain", [SOURCE, TARGET])
def test_domain_losses(domain: float) -> None:
    scores = _scores().double()
    says_target = 1 / (1 + np.exp(-scores.numpy()))
    vanilla = -(domain * np.log(says_target) + (1 - domain) * np.log(1 - says_target)).mean()
    least_squares = ((scores.numpy() - domain) ** 2).mean()
    assert float(domain_loss("vanilla", scores, domain)) == pytest.approx(vanilla, rel=1e-12)
    assert float(domain_loss("ls", scores, domain)) == pytest.approx(least_squares, rel=1e-12)


@pytest.mark.parametrize("gan", ["vanilla", "ls"])
def test_the_adversary_wants_source_and_the_discriminator_is_halved(gan: Gan) -> None:
    scores = _scores()
    assert torch.equal(adversarial_loss(gan, scores), domain_loss(gan, scores, SOURCE))
    assert torch.equal(2 * discriminator_loss(gan, scores, TARGET), domain_loss(gan, scores, TARGET))


@pytest.mark.parametrize("gan", ["vanilla", "ls"])
def test_losses_of_half_precision_are_float32(gan: Gan) -> None:
    scores = _scores().bfloat16()
    assert domain_loss(gan, scores, TARGET).dtype == torch.float32
    logits = torch.randn(1, 3, 4, 4).bfloat16()
    assert segmentation_loss(logits, torch.zeros(1, 4, 4, dtype=torch.uint8)).dtype == torch.float32


def test_discriminator_accuracy() -> None:
    scores = torch.tensor([-2.0, -0.1, 0.3, 0.7])
    assert float(discriminator_accuracy("vanilla", scores, TARGET)) == 0.5
    assert float(discriminator_accuracy("ls", scores, TARGET)) == 0.25
    assert float(discriminator_accuracy("ls", scores, SOURCE)) == 0.75
