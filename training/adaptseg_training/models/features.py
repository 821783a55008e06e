"""What a backbone promises to the generator."""

from typing import NamedTuple, Protocol

from torch import Tensor

OUTPUT_STRIDE = 8
"""Of every backbone: features are an eighth of the image's size."""


class Features(NamedTuple):
    """Two depths of a backbone, both (N, channels, h, w) at an eighth of the image's size, perhaps an earlier one."""

    conv4: Tensor | None
    """Input of the aux head; None from a backbone that has no aux level."""
    conv5: Tensor
    """Input of the main head."""
    fine: Tensor | None = None
    """(N, channels, 2h, 2w), at a quarter: what `detail` adds; None from a backbone that doesn't offer it."""


class Backbone(Protocol):
    """An nn.Module that says how many channels its features have."""

    conv4_channels: int | None
    conv5_channels: int
    fine_channels: int | None

    def __call__(self, images: Tensor) -> Features:
        """images: (N, 3, H, W) float, normalised by the backbone's PreprocessSpec."""
        ...
