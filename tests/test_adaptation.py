"""The adaptation step: who gets which gradient, and that its savings change nothing."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.config import Gan, GeneratorConfig, LevelConfig, OptimiserConfig, TrainConfig
from adaptseg_training.levels import active_levels, reference_levels

CPU = torch.device("cpu")
CLASSES = 4
TINY = TrainConfig(
    generator=GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none", bn="reference"),
    aux=LevelConfig(0.1, 0.002),
    main=LevelConfig(1.0, 0.01),
    optimiser=OptimiserConfig(lr=1e-3),
)
SINGLE = replace(TINY, aux=LevelConfig(0, 0))
SOURCE_ONLY = replace(SINGLE, main=LevelConfig(1.0, 0))
FROZEN = replace(TINY, generator=replace(TINY.generator, bn="frozen"))


def _adaptation(config: TrainConfig = TINY, seed: int = 0) -> Adaptation:
    torch.manual_seed(seed)
    adaptation = Adaptation(config, CLASSES, CPU)
    adaptation.generator.double()
    adaptation.discriminators.double()
    adaptation.normalise = _ToDouble()
    return adaptation


class _ToDouble(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.double() / 64 - 2


def _batch(seed: int = 0, images: int = 1) -> Batch:
    random = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randint(0, 256, (images, 3, 48, 64), generator=random, dtype=torch.uint8),
        torch.randint(0, CLASSES, (images, 48, 64), generator=random, dtype=torch.uint8),
        torch.randint(0, 256, (images, 3, 40, 48), generator=random, dtype=torch.uint8),
    )


def _gradients(adaptation: Adaptation) -> dict[str, Tensor]:
    modules = {"G": adaptation.generator, "D": adaptation.discriminators}
    return {
        f"{prefix}.{name}": param.grad.clone()
        for prefix, module in modules.items()
        for name, param in module.named_parameters()
        if param.grad is not None
    }


def _straightforward(adaptation: Adaptation, batch: Batch) -> None:
    """Gradients of eq. 5 and of eq. 2 (or 7 and 8) as the paper writes them: D sees the target twice."""
    generator, config = adaptation.generator, adaptation.config
    weights = {"aux": config.aux, "main": config.main}
    domain: Callable[[Tensor, float], Tensor] = (
        (lambda scores, z: functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, z)))
        if config.gan == "vanilla"
        else (lambda scores, z: ((scores - z) ** 2).mean())
    )

    def logits(images: Tensor) -> dict[str, Tensor]:
        low = generator(adaptation.normalise(images))._asdict()
        up = nn.Upsample(size=images.shape[-2:], mode="bilinear", align_corners=True)
        return {name: up(low[name]) for name in adaptation.discriminators}

    source = logits(batch.source_images)
    labels = batch.source_labels.long()
    torch.autograd.backward([weights[n].seg_weight * functional.cross_entropy(source[n], labels) for n in source])
    assert batch.target_images is not None
    target = logits(batch.target_images)
    adaptation.discriminators.requires_grad_(False)
    adversarial = [
        weights[n].adv_weight * domain(adaptation.discriminators[n](target[n].softmax(1)), 0) for n in target
    ]
    torch.autograd.backward(adversarial)
    adaptation.discriminators.requires_grad_(True)
    for n, discriminator in adaptation.discriminators.items():
        torch.autograd.backward(domain(discriminator(target[n].detach().softmax(1)), 1) / 2)
        torch.autograd.backward(domain(discriminator(source[n].detach().softmax(1)), 0) / 2)


@pytest.mark.parametrize("gan", ["vanilla", "ls"])
@pytest.mark.parametrize("config", [TINY, SINGLE, FROZEN], ids=["multi", "single", "frozen"])
def test_gradients_are_those_of_the_straightforward_step(config: TrainConfig, gan: Gan) -> None:
    ours = _adaptation(replace(config, gan=gan))
    theirs = _adaptation(replace(config, gan=gan))
    ours.backward(_batch())
    _straightforward(theirs, _batch())
    found, expected = _gradients(ours), _gradients(theirs)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-12 * scale, msg=name)


def test_one_discriminator_forward_gives_the_gradients_of_two_bit_for_bit() -> None:
    """Through the probs' gradient, which is all that the generator sees of D, and through D's own."""
    adaptation = _adaptation()
    d = adaptation.discriminators["main"]
    probs = torch.rand(1, CLASSES, 64, 96, dtype=torch.float64, requires_grad=True)

    def bce(scores: Tensor, z: float) -> Tensor:
        return functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, z))

    scores = d(probs)
    (one,) = torch.autograd.grad(0.01 * bce(scores, 0), probs, retain_graph=True)
    torch.autograd.backward(bce(scores, 1), inputs=list(d.parameters()))
    of_one = [p.grad.clone() for p in d.parameters() if p.grad is not None]
    assert probs.grad is None

    d.zero_grad()
    (two,) = torch.autograd.grad(0.01 * bce(d(probs), 0), probs)
    torch.autograd.backward(bce(d(probs.detach()), 1))
    of_two = [p.grad for p in d.parameters()]
    assert torch.equal(one, two)
    assert all(torch.equal(a, b) for a, b in zip(of_one, of_two, strict=True) if b is not None)


def test_source_gets_no_adversarial_gradient_and_target_no_segmentation_gradient() -> None:
    seen: list[Tensor] = []

    class Watched(_ToDouble):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(super().forward(images).requires_grad_())
            return seen[-1]

    def image_gradients(config: TrainConfig) -> list[Tensor]:
        seen.clear()
        adaptation = _adaptation(config)
        adaptation.normalise = Watched()
        adaptation.backward(_batch())
        return [images.grad for images in seen if images.grad is not None]

    weak, strong = image_gradients(TINY), image_gradients(replace(TINY, main=LevelConfig(1.0, 0.1)))
    assert torch.equal(weak[0], strong[0])
    assert not torch.equal(weak[1], strong[1])
    learned, idle = image_gradients(TINY), image_gradients(replace(TINY, main=LevelConfig(0.0, 0.01)))
    assert torch.equal(learned[1], idle[1])
    assert not torch.equal(learned[0], idle[0])


def test_discriminators_learn_nothing_from_the_adversarial_loss() -> None:
    weak, strong = _adaptation(TINY), _adaptation(replace(TINY, main=LevelConfig(1.0, 100.0)))
    weak.backward(_batch())
    strong.backward(_batch())
    for p, q in zip(weak.discriminators.parameters(), strong.discriminators.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.equal(p.grad, q.grad)


def test_accumulating_two_batches_is_a_batch_of_two() -> None:
    one, other = _batch(1), _batch(2)
    assert one.target_images is not None
    assert other.target_images is not None
    both = Batch(
        torch.cat([one.source_images, other.source_images]),
        torch.cat([one.source_labels, other.source_labels]),
        torch.cat([one.target_images, other.target_images]),
    )
    apart, together = _adaptation(FROZEN), _adaptation(FROZEN)
    losses_apart, losses_together = apart.step(0, [one, other]), together.step(0, [both])
    assert losses_apart == pytest.approx(losses_together, rel=1e-9)
    for p, q in zip(apart.generator.parameters(), together.generator.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_frozen_statistics_stay_and_reference_statistics_follow_both_domains() -> None:
    frozen, following = _adaptation(FROZEN), _adaptation(TINY)
    before = copy.deepcopy(frozen.generator.state_dict())
    for adaptation in (frozen, following):
        adaptation.step(0, [_batch()])
    for name, buffer in frozen.generator.named_buffers():
        assert torch.equal(buffer, before[name]), name
    counters = [b for name, b in following.generator.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(counter) for counter in counters} == {2}


def test_gamma_and_beta_are_never_trained() -> None:
    adaptation = _adaptation()
    before = copy.deepcopy(adaptation.generator.state_dict())
    adaptation.step(0, [_batch()])
    after = adaptation.generator.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert not [name for name in changed if "bn" in name and name.endswith(("weight", "bias"))]
    assert any("conv1" in name for name in changed)


def test_source_only_runs_no_target_forward() -> None:
    adaptation = _adaptation(SOURCE_ONLY)
    losses = adaptation.step(0, [_batch()])
    assert losses.keys() == {"seg/main", "lr"}
    assert len(adaptation.discriminators) == 0
    assert {int(b) for n, b in adaptation.generator.named_buffers() if n.endswith("num_batches_tracked")} == {1}


def test_a_batch_without_target_trains_on_the_source_alone() -> None:
    losses = _adaptation().step(0, [replace(_batch(), target_images=None)])
    assert losses.keys() == {"seg/aux", "seg/main", "lr"}


def test_an_idle_level_is_not_built() -> None:
    adaptation = _adaptation(SINGLE)
    assert adaptation.generator.aux is None
    assert list(adaptation.discriminators) == ["main"]
    assert [level.name for level in active_levels(SINGLE)] == ["main"]
    assert [level.adapts for level in reference_levels(SOURCE_ONLY)] == [True, True]


def test_a_level_may_segment_without_adapting() -> None:
    adaptation = _adaptation(replace(TINY, aux=LevelConfig(0.1, 0)))
    losses = adaptation.step(0, [_batch()])
    assert "seg/aux" in losses
    assert "adv/aux" not in losses
    assert list(adaptation.discriminators) == ["main"]


def test_losses_of_a_step() -> None:
    losses = _adaptation().step(0, [_batch()])
    kinds = ("seg", "adv", "disc_source", "disc_target", "disc_accuracy")
    assert losses.keys() == {f"{kind}/{level}" for kind in kinds for level in ("aux", "main")} | {"lr"}
    assert losses["lr"] == TINY.optimiser.lr
    assert 0 <= losses["disc_accuracy/main"] <= 1


def test_discriminators_learn_to_tell_the_domains() -> None:
    adaptation = _adaptation(replace(FROZEN, optimiser=OptimiserConfig(lr=0.0, discriminator_lr=3e-3)))
    first = adaptation.step(0, [_batch()])
    for step in range(1, 12):
        last = adaptation.step(step, [_batch()])
    assert last["disc_accuracy/main"] == 1
    assert last["disc_target/main"] < first["disc_target/main"]
    assert last["adv/main"] > first["adv/main"]


@pytest.mark.parametrize("change", [{}, {"param_groups": "legacy"}, {"algorithm": "adamw"}])
def test_resuming_goes_on_bit_for_bit(change: dict[str, Any]) -> None:
    config = replace(TINY, optimiser=replace(TINY.optimiser, **change))
    whole = _adaptation(config)
    whole.step(0, [_batch(0)])
    resumed = _adaptation(config, seed=1)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert whole.step(1, [_batch(1)]) == resumed.step(1, [_batch(1)])
    for name, tensor in whole.generator.state_dict().items():
        assert torch.equal(tensor, resumed.generator.state_dict()[name]), name


def test_the_same_seed_gives_the_same_step() -> None:
    first, second = _adaptation(), _adaptation()
    assert first.step(0, [_batch()]) == second.step(0, [_batch()])
    for p, q in zip(first.generator.parameters(), second.generator.parameters(), strict=True):
        assert torch.equal(p, q)


def test_bytes_train_the_light_generator() -> None:
    config = replace(TINY, generator=GeneratorConfig(backbone="lite0"))
    adaptation = Adaptation(config, CLASSES, CPU)
    losses = adaptation.step(0, [_batch().to(CPU)])
    assert all(value == value for value in losses.values())
