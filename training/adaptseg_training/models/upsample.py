"""The one way logits get bigger."""

import torch
from torch import Tensor
from torch.nn import functional


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) -> (N, C, height, width), bilinear, corners aligned, in float32 or wider.

    align_corners=True is the reference's; with False its released checkpoint scores 40.8 mIoU instead of 42.4.
    """
    return functional.interpolate(at_least_float32(logits), size=size, mode="bilinear", align_corners=True)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precisions widened to float32; float32 and float64 as they are."""
    return x if x.dtype == torch.float64 else x.float()
