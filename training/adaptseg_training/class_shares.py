"""Class shares, which differ between the domains, kept out of what the discriminators teach.

Output-space adaptation makes the target's predictions look like the source's, and how much of an image is building or
pavement is part of how they look. Where the domains' roads differ in that, a generator that fools D in full is wrong
(Zhao et al., On learning invariant representations for domain adaptation, ICML 2019, theorem 4.3). So D is shown a
source whose classes are as frequent as the target's: a source patch counts in D's loss (eq. 2, 8) with the weight

    w(patch) = exp(sum over classes c of tilt_c * share of c among the patch's labels)

and the tilts are those under which the weighted source has the class shares that the generator predicts on the target,
on average over the run: entropy balancing (Hainmueller, Political Analysis 20, 2012), the least change of the weights
that does it. What is left to tell the domains apart by is how the classes lie, not how much there is of them.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adaptseg_training.world import World

PATCH = 32
"""Side, in pixels, of the patches that the tilts are fitted to: those of a discriminator of probs."""
IMAGES = 200
"""Latest source images that the tilts are fitted to."""
LEAST = 1e-4
"""A rarer class is balanced as if it had this share."""
TINY = 1e-12
"""In place of a sum of nothing."""
ROUNDS = 5
"""Of generalised iterative scaling (Darroch and Ratcliff, 1972) in each step, which goes on from the last tilts."""


class ClassShares:
    """The shares of `classes` in both domains, and the weights of source patches that make them alike.

    `limit`, 1 or more: a patch full of one class weighs at most so many times an average one, and at least its
    inverse. Every process of `world` sees the images of all.
    """

    def __init__(self, classes: int, limit: float, device: torch.device, world: World) -> None:
        self._bound, self._world = math.log(limit), world
        self._target = torch.full((classes,), 1 / classes, device=device)
        self._tilts = torch.zeros(classes, device=device)
        self._patches = torch.empty((0, classes), device=device)
        self._batches = 0

    @torch.no_grad()
    def follow(self, source_labels: Tensor, target_logits: Tensor) -> dict[str, Tensor]:
        """See one batch more of both domains, and fit the tilts anew.

        source_labels: (N, H, W) train ids, 255 ignored. target_logits: (N, C, h, w) of target images. Returns scalars
        0..1: shares/apart and shares/left, the total variation distance between the domains' shares before and after
        the weights, and shares/effective, what part of the source's patches Kish's effective sample size leaves.
        """
        height, width = source_labels.shape[-2:]
        cells = max(height // PATCH, 1), max(width // PATCH, 1)
        patches = patch_shares(source_labels, cells, len(self._tilts)).flatten(0, 2)
        seen = target_logits.float().softmax(1).mean((0, 2, 3))
        if self._world.size > 1:
            everyone = self._world.gather((patches.cpu(), seen.cpu()))
            patches = torch.cat([each for each, _ in everyone]).to(seen.device)
            seen = torch.stack([each for _, each in everyone]).mean(0).to(seen.device)
        self._batches += 1
        self._target = self._target.lerp(seen, 1 / self._batches)  # the mean of all: it holds against drift
        self._patches = torch.cat([patches, self._patches])[: IMAGES * cells[0] * cells[1]]
        for _ in range(ROUNDS):
            self._tilts = self._held(self._tilts + self._step())
        return self._scalars()

    @torch.no_grad()
    def weights(self, source_labels: Tensor, cells: tuple[int, int]) -> Tensor:
        """(N, 1, *cells) float32, about 1 on average: how much the patches of (N, H, W) train ids count.

        A patch that is all ignored counts 1.
        """
        return _weights(patch_shares(source_labels, cells, len(self._tilts)), self._tilts).unsqueeze(1)

    def _step(self) -> Tensor:
        """Iterative scaling's: a patch's shares sum to 1, so the logarithm of wanted over found is a whole step."""
        found = self._weighted()
        return torch.where(found.sum() > 0, (self._target.clamp(min=LEAST) / found.clamp(min=LEAST)).log(), 0)

    def _held(self, tilts: Tensor) -> Tensor:
        """`tilts` within the limit, and, as near as that allows, with weights whose mean is 1.

        A common constant changes no share, so it is free; held alone, it would wander off.
        """
        for _ in range(ROUNDS):
            tilts = (tilts - _weights(self._patches, tilts).mean().log()).clamp(-self._bound, self._bound)
        return tilts

    def _weighted(self) -> Tensor:
        """The weighted source's class shares; zeros while every pixel was ignored."""
        counts = _weights(self._patches, self._tilts) @ self._patches
        return counts / counts.sum().clamp(min=TINY)

    def _scalars(self) -> dict[str, Tensor]:
        weights, source = _weights(self._patches, self._tilts), self._patches.sum(0)
        source = source / source.sum().clamp(min=TINY)
        return {
            "shares/apart": (source - self._target).abs().sum() / 2,
            "shares/left": (self._weighted() - self._target).abs().sum() / 2,
            "shares/effective": weights.mean() ** 2 / (weights**2).mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs. Its tensors are never changed in place, so they stay as they are now."""
        return {"target": self._target, "tilts": self._tilts, "patches": self._patches, "batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        device = self._target.device
        self._target, self._tilts, self._patches = (state[n].to(device) for n in ("target", "tilts", "patches"))
        self._batches = state["batches"]


def _weights(patches: Tensor, tilts: Tensor) -> Tensor:
    """(..., classes) shares -> (...) weights."""
    return (patches @ tilts).exp()


def patch_shares(labels: Tensor, cells: tuple[int, int], classes: int) -> Tensor:
    """(N, H, W) train ids, 255 ignored -> (N, *cells, classes) float32: each class's share of each cell's pixels.

    The shares of a cell sum to 1, or are all 0 where every pixel is ignored.
    """
    one_hot = functional.one_hot(labels.long().clamp(max=classes), classes + 1)[..., :classes]
    shares = functional.adaptive_avg_pool2d(one_hot.permute(0, 3, 1, 2).float(), cells)
    return (shares / shares.sum(1, keepdim=True).clamp(min=TINY)).permute(0, 2, 3, 1)
