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
    target_seen: Tensor | None = None
    """(M, 3, H', W') uint8 RGB: the same crops as the camera saw them, where they are wanted; see `natural_target`."""
    weight: float = 1.0
    """Labelled pixels of this batch over their mean across the ranks: with it the mean of the ranks' segmentation
    losses, each a mean over its own pixels, is the mean over the pixels of all (see World)."""

    @property
    def natural_target(self) -> Tensor | None:
        """The target's images without changed colours: what a teacher labels, and what lends the source its light."""
        return self.target_images if self.target_seen is None else self.target_seen

    def to(self, device: torch.device) -> "Batch":
        """A copy on `device`; asynchronous from pinned memory."""
        parts = (self.source_images, self.source_labels, self.target_images, self.target_seen)
        source, labels, target, seen = (None if x is None else x.to(device, non_blocking=True) for x in parts)
        assert source is not None
        assert labels is not None
        return Batch(source, labels, target, seen, self.weight)
