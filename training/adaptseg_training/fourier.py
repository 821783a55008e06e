"""Fourier domain adaptation: source images with the target's colours and light (Yang and Soatto, FDA, 2020)."""

import torch
from torch import Tensor


def swap_amplitudes(source_images: Tensor, target_images: Tensor, share: float) -> Tensor:
    """(N, 3, H, W) uint8 RGB source images whose lowest frequencies have the target's amplitudes (eq. 3 of FDA).

    Phases, which carry the shapes that the labels describe, stay. Image n takes those of target image n modulo M of
    (M, 3, H', W'); the sizes may differ. share: beta, half the side of the square of swapped frequencies over the
    images' smaller side, 0..0.5; the mean alone where that is under one frequency.
    """
    shown = source_images[0].shape[-2:]
    reach = int(share * min(*shown, *target_images.shape[-2:]))
    wrapped = torch.arange(len(source_images), device=source_images.device) % len(target_images)
    # norm "forward" makes amplitudes independent of the size; float32 also where autocast is on.
    source = torch.fft.rfft2(source_images.float(), norm="forward")
    target = torch.fft.rfft2(target_images[wrapped].float(), norm="forward")
    for rows in (slice(0, reach + 1), slice(-reach, None)) if reach else (slice(0, 1),):
        columns = slice(0, reach + 1)
        low = source[..., rows, columns]
        source[..., rows, columns] = torch.polar(target[..., rows, columns].abs(), low.angle())
    images: Tensor = torch.fft.irfft2(source, s=shown, norm="forward")
    images = images.round().clamp(0, 255)
    return images.to(torch.uint8)
