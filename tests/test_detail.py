"""The finer main level: a correction of the coarse scores by features at a quarter of the image's size."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models import build_generator

PLAIN = GeneratorConfig(backbone="lite0")
FINE = GeneratorConfig(backbone="lite0", detail=True)


def test_it_begins_as_the_plain_generator_upsampled(tmp_path: Path) -> None:
    torch.manual_seed(1)
    plain, fine = build_generator(PLAIN, 7, aux=True), build_generator(FINE, 7, aux=True)
    fine.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 97, 130)
    with torch.no_grad():
        coarse, seen = plain.eval()(images), fine.eval()(images)
    assert coarse.main.shape[-2:] == (13, 17)
    assert seen.main.shape == (2, 7, 25, 33)
    expected = functional.interpolate(coarse.main, size=(25, 33), mode="bilinear", align_corners=True)
    assert torch.allclose(seen.main, expected, atol=1e-5)
    assert torch.equal(seen.aux, coarse.aux)


def test_it_learns_stripes_that_are_thinner_than_a_cell() -> None:
    """Stripes of four pixels in eight: at an eighth of the image's size every cell sees the same."""
    torch.manual_seed(2)
    stripes = (torch.arange(64) % 8 < 4).float().expand(1, 3, 64, 64)
    images, labels = 2 * stripes - 1, stripes[:, 0].long()

    def error(config: GeneratorConfig) -> float:
        generator = build_generator(config, 2, aux=False)
        optimiser = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=3e-3)
        for _ in range(60):
            scores = functional.interpolate(generator(images).main, size=(64, 64), mode="bilinear", align_corners=True)
            loss = functional.cross_entropy(scores, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float((scores.argmax(1) != labels).float().mean())

    fine, coarse = error(FINE), error(PLAIN)
    assert coarse > 0.4
    assert fine < 0.15


def test_backbones_without_fine_features_refuse_it() -> None:
    with pytest.raises(ConfigError, match="lite0"):
        build_generator(GeneratorConfig(backbone="vgg16", weights="none", detail=True), 19, aux=False)
