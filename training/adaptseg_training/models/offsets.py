"""Class offsets: numbers added to a finished segmenter's class scores, where the road isn't made as the source is.

A network learns p(class | pixel) under the shares of what it was trained on; where a class is commoner or rarer on
the road, adding the log of the ratio corrects it (Saerens et al., Neural Computation 2002). An offset of 1 says
"2.7 times as likely as you think". They are hyper-parameters: choose few, and on frames that aren't scored
afterwards. They cost nothing, being part of the last convolution's bias.
"""

import difflib
from collections.abc import Mapping, Sequence

import torch

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LabelSet
from adaptseg_training.models.generator import Generator


def parse_offsets(words: Sequence[str], labels: LabelSet) -> dict[str, float]:
    """("vegetation=-2", "sidewalk=1.5") -> {"vegetation": -2.0, "sidewalk": 1.5}; ConfigError says what is wrong."""
    offsets: dict[str, float] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        if not equals:
            raise ConfigError(f"--class-offsets {word}: say CLASS=NUMBER, for example {labels.names[0]}=-1.")
        if name not in labels.names:
            close = difflib.get_close_matches(name, labels.names, 1)
            hint = f"perhaps you meant {close[0]!r}" if close else f"there are {', '.join(labels.names)}"
            raise ConfigError(f"--class-offsets {word}: {labels.name} has no class {name!r}; {hint}.")
        try:
            offsets[name] = float(number)
        except ValueError:
            raise ConfigError(f"--class-offsets {word}: say CLASS=NUMBER, for example {name}=-1.") from None
        if not abs(offsets[name]) < 100:
            raise ConfigError(f"--class-offsets {word}: an offset is a few units, of log odds.")
    return offsets


def add_offsets(generator: Generator, offsets: Mapping[str, float], labels: LabelSet) -> None:
    """Add them to the main level's scores, in place: to every pixel, before upsampling and after it alike."""
    last = generator.main.branches[0] if generator.detail is None else generator.detail.change
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        for name, offset in offsets.items():
            last.bias[labels.train_id(name)] += offset
