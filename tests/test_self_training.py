"""Self-training and its parts: mixing, pseudo-labels, the teacher, and a resume to the same bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptseg_serve.labels import IGNORE_ID
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.config import (
    DomainConfig,
    GeneratorConfig,
    LevelConfig,
    OptimiserConfig,
    SelfTrainingConfig,
    TrainConfig,
)
from adaptseg_training.fourier import swap_amplitudes
from adaptseg_training.mixing import class_mask, jitter
from adaptseg_training.self_training import mixed_loss

CPU = torch.device("cpu")
CLASSES = 4
SIZE = (48, 64)
TINY = TrainConfig(
    generator=GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"),
    aux=LevelConfig(0, 0),
    main=LevelConfig(1.0, 0),
    optimiser=OptimiserConfig(lr=1e-3),
    source=DomainConfig(size=SIZE),
    target=DomainConfig(size=SIZE),
    self_training=SelfTrainingConfig(weight=1.0, confident=0.3),
)


def _batch(seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 2, 3, *SIZE), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (2, *SIZE), generator=random, dtype=torch.uint8)
    return Batch(images[0], labels, images[1])


def _adaptation(config: TrainConfig = TINY) -> Adaptation:
    torch.manual_seed(0)
    return Adaptation(config, CLASSES, CPU)


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_classes_are_pasted_and_never_ignored_pixels(seed: int) -> None:
    torch.manual_seed(seed)
    labels = torch.tensor([[[0, 1, 2, 3, 4, IGNORE_ID]], [[7, 7, 9, 9, IGNORE_ID, 9]]], dtype=torch.uint8)
    mask = class_mask(labels)
    assert [int(m.sum()) for m in mask[0]] == [3]
    assert mask[1][0].tolist() in ([True, True, False, False, False, False], [False, False, True, True, False, True])
    assert not mask[labels == IGNORE_ID].any()


def test_jitter_changes_light_and_keeps_shapes() -> None:
    torch.manual_seed(0)
    images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    images[..., 16:] = 200
    changed = jitter(images)
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)
    assert bool((changed[..., -4].float() > changed[..., 3].float() + 50).all())


def test_the_loss_weighs_unsure_images_down() -> None:
    logits = torch.randn(2, CLASSES, 3, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 3, 3, dtype=torch.int64)
    labels[0, 0] = IGNORE_ID
    weights = torch.tensor([1.0, 0.25]).view(2, 1, 1).expand(2, 3, 3)
    log_probs = logits.log_softmax(1)[:, 0].numpy()
    expected = -(log_probs[0, 1:].sum() + 0.25 * log_probs[1].sum()) / 18
    assert float(mixed_loss(logits, labels, weights)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("fourier", [0.0, 0.1])
def test_teacher_and_swap_see_the_target_as_the_camera_saw_it(fourier: float) -> None:
    """Changed colours are for a discriminator, whose source has them, too; here there is none."""
    config, plain = replace(TINY, fourier=fourier), _batch()
    assert plain.target_images is not None
    recoloured = replace(plain, target_images=255 - plain.target_images, target_seen=plain.target_images)
    expected, found = _adaptation(config), _adaptation(config)
    for adaptation, batch in ((expected, plain), (found, recoloured.to(CPU))):
        torch.manual_seed(1)
        adaptation.step(0, [batch])
    for name, value in expected.generator.state_dict().items():
        assert torch.equal(found.generator.state_dict()[name], value), name


def test_the_teacher_follows_the_student_and_gets_no_gradient() -> None:
    adaptation = _adaptation()
    teacher = {k: v.clone() for k, v in adaptation.deployed.state_dict().items()}
    losses = adaptation.step(0, [_batch()])
    assert {"self/main", "self/confident"} < losses.keys()
    assert adaptation.deployed is not adaptation.generator
    assert all(p.grad is None for p in adaptation.deployed.parameters())
    for name, student in adaptation.generator.state_dict().items():
        if not student.is_floating_point():
            continue
        expected = (teacher[name] + student) / 2  # of step 0: the mean of both
        torch.testing.assert_close(adaptation.deployed.state_dict()[name], expected, msg=name)


def test_mixed_images_alone_train_the_student() -> None:
    """With the source's own loss off, what moves the head is the mixed loss."""
    config = replace(TINY, main=LevelConfig(0, 0))
    adaptation = _adaptation(config)
    adaptation.backward(_batch())
    assert any(p.grad is not None and p.grad.any() for p in adaptation.generator.main.parameters())


def test_a_resumed_step_is_the_uninterrupted_one_bit_for_bit() -> None:
    whole, first = _adaptation(), _adaptation()
    for step in range(2):
        torch.manual_seed(step)
        whole.step(step, [_batch(step)])
    torch.manual_seed(0)
    first.step(0, [_batch(0)])
    torch.manual_seed(7)
    second = Adaptation(TINY, CLASSES, CPU)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(1)
    second.step(1, [_batch(1)])
    for ours, theirs in ((second.generator, whole.generator), (second.deployed, whole.deployed)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name


def test_amplitudes_are_the_targets_inside_and_the_sources_outside() -> None:
    random = torch.Generator().manual_seed(0)
    # Flat spectra around mid grey: nothing is clipped, so only rounding to 8 bits separates us from numpy.
    source, target = (torch.randint(96, 160, (1, 3, 32, 48), generator=random, dtype=torch.uint8) for _ in range(2))
    ours = swap_amplitudes(source, target, 0.1)
    assert ours.dtype == torch.uint8
    np.testing.assert_allclose(ours.numpy(), _swapped_by_numpy(source.numpy(), target.numpy(), 3), atol=0.51)


def test_the_mean_colour_alone_moves_where_the_share_is_under_one_frequency() -> None:
    source = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)
    target = torch.full((1, 3, 24, 8), 140, dtype=torch.uint8)
    assert bool((swap_amplitudes(source, target, 0.01) == 140).all())


def _swapped_by_numpy(source: np.ndarray, target: np.ndarray, reach: int) -> np.ndarray:
    """As the paper's own words: full, centred spectra, a square around the middle."""
    ours, theirs = (np.fft.fftshift(np.fft.fft2(x.astype(np.float64)), axes=(-2, -1)) for x in (source, target))
    middle = [n // 2 for n in source.shape[-2:]]
    square = (..., *(slice(m - reach, m + reach + 1) for m in middle))
    amplitude = np.abs(ours)
    amplitude[square] = np.abs(theirs)[square]
    mixed = np.fft.ifftshift(amplitude * np.exp(1j * np.angle(ours)), axes=(-2, -1))
    return np.clip(np.fft.ifft2(mixed).real, 0, 255)
