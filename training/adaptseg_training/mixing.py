"""Class mixing: half of a source image's classes pasted onto a target image (Olsson et al., ClassMix, 2021)."""

import torch
from torch import Tensor
from torch.nn import functional

from adaptseg_serve.labels import IGNORE_ID


def class_mask(source_labels: Tensor) -> Tensor:
    """(N, H, W) bool: the pixels of a random half, rounded up, of each image's classes; ignored pixels never.

    source_labels: (N, H, W) train ids. Drawn from torch's global generator on the CPU.
    """
    masks = []
    for labels in source_labels:
        classes = labels.unique()
        classes = classes[classes != IGNORE_ID]
        order = torch.randperm(len(classes)).to(labels.device)
        chosen = classes[order[: (len(classes) + 1) // 2]]
        masks.append(torch.isin(labels, chosen))
    return torch.stack(masks)


def jitter(images: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 RGB with another brightness, contrast and white balance each, half of them blurred."""
    count = len(images)
    device, pixels = images.device, images.float()
    gain = _uniform(count, 3, low=0.9, high=1.1) * _uniform(count, 1, low=0.75, high=1.3)
    offset = _uniform(count, 1, low=-20, high=20)
    pixels = (pixels - 128) * gain.to(device) + 128 + offset.to(device)
    blurred = functional.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    pixels = torch.where((_uniform(count, 1, low=0, high=1) < 0.5).to(device), blurred, pixels)
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _uniform(count: int, channels: int, low: float, high: float) -> Tensor:
    return torch.rand(count, channels, 1, 1) * (high - low) + low
