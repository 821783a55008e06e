"""What one step sees of the two domains."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One batch of each domain; the sizes of the domains may differ."""

    source_images: Tensor
    """(N, 3, H, W) uint8 RGB, 0..255."""
    source_labels: Tensor
    """(N, H, W) uint8 or int64 train ids, 255 ignored."""
    target_images: Tensor | None = None
    """(M, 3, H', W') uint8 RGB; None trains on the source alone."""
    weight: float = 1.0
    """Labelled pixels of this batch over their mean across the ranks: with it the mean of the ranks' segmentation
    losses, each a mean over its own pixels, is the mean over the pixels of all (see World)."""

    def to(self, device: torch.device) -> "Batch":
        """A copy on `device`; asynchronous from pinned memory."""
        target = self.target_images
        return Batch(
            self.source_images.to(device, non_blocking=True),
            self.source_labels.to(device, non_blocking=True),
            None if target is None else target.to(device, non_blocking=True),
            self.weight,
        )
