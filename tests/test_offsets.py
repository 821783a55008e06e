"""Class offsets: constants on a finished segmenter's scores."""

from collections.abc import Sequence

import pytest
import torch

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models import build_generator, upsample
from adaptseg_training.models.offsets import add_offsets, parse_offsets

LITE = GeneratorConfig(backbone="lite0", weights="none")
FINE = GeneratorConfig(backbone="lite0", weights="none", detail=True)


@pytest.mark.parametrize("config", [LITE, FINE], ids=["plain", "detail"])
def test_every_pixels_score_moves_by_the_offset(config: GeneratorConfig) -> None:
    torch.manual_seed(4)
    generator = build_generator(config, len(CITYSCAPES), aux=True).eval()
    images = torch.randn(2, 3, 65, 90)
    with torch.no_grad():
        before = generator(images)
        add_offsets(generator, {"vegetation": -2.0, "traffic light": 0.5}, CITYSCAPES)
        after = generator(images)
        change = upsample(after.main, (65, 90)) - upsample(before.main, (65, 90))
    expected = torch.zeros(19)
    expected[8], expected[6] = -2.0, 0.5
    assert torch.allclose(change, expected.view(1, 19, 1, 1).expand_as(change), atol=1e-4)
    assert torch.equal(after.aux, before.aux)


def test_words_become_numbers() -> None:
    found = parse_offsets(("vegetation=-2", "traffic light=1.5"), CITYSCAPES)
    assert found == {"vegetation": -2.0, "traffic light": 1.5}
    assert parse_offsets((), CITYSCAPES) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vegatation=-2"], "perhaps you meant 'vegetation'"),
        (["zebra=1"], "there are road, sidewalk"),
        (["road"], "say CLASS=NUMBER, for example road=-1"),
        (["road=much"], "road=-1"),
        (["road=nan"], "a few units"),
        (["road=1e9"], "a few units"),
    ],
)
def test_wrong_words_say_what_is_right(words: Sequence[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_offsets(words, CITYSCAPES)
