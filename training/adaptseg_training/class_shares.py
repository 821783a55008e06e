"""Class shares, which differ between the domains, kept out of what the discriminators teach.

Output-space adaptation makes the target's predictions look like the source's, and how much of an image is building or
pavement is part of how they look. Where the domains' roads differ in that, a generator that fools D in full is wrong
(Zhao et al., On learning invariant representations for domain adaptation, ICML 2019, theorem 4.3). So D is shown a
source whose classes are as frequent as the target's: a source patch counts in D's loss (eq. 2, 8) with the weight

    w(patch) = exp(sum over classes c of tilt_c * share of c among the patch's labels) / mean of that over patches

and the tilts are those under which the weighted source has the class shares that the generator predicts on the target:
entropy balancing (Hainmueller, Political Analysis 20, 2012), the least change of the weights that does it. What is left
to tell the domains apart by is how the classes lie, not how much there is of them.
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
MOMENTUM = 0.98
"""Of the running mean of the target's shares: it sees some fifty batches."""
LEAST = 1e-4
"""A rarer class is balanced as if it had this share."""
ROUNDS = 5
"""Of generalised iterative scaling (Darroch and Ratcliff, 1972) in each step, which goes on from the last tilts."""


class ClassShares:
    """The shares of `classes` in both domains, and the weights of source patches that make them alike.

    `limit`, 1 or more: a patch full of one class weighs at most so many times what it would, and at least its
    inverse. Every process of `world` sees the images of all.
    """

    def __init__(self, classes: int, limit: float, device: torch.device, world: World) -> None:
        self._bound, self._world = math.log(limit), world
        self._target = torch.full((classes,), 1 / classes, device=device)
        self._tilts = torch.zeros(classes, device=device)
        self._patches = torch.empty((0, classes), device=device)
        self._batches = 0
        self._mean = torch.ones((), device=device)

    @torch.no_grad()
    def follow(self, source_labels: Tensor, target_logits: Tensor) -> dict[str, Tensor]:
        """See one batch more of both domains, and fit the tilts anew.

        source_labels: (N, H, W) train ids, 255 ignored. target_logits: (N, C, h, w) of target images. Returns scalars
        0..1: shares/apart and shares/left, the total variation distance between the domains' shares before and after
        the weights, and shares/effective, the source's patches that are left by Kish's effective sample size.
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
        self._target.lerp_(seen, max(1 / self._batches, 1 - MOMENTUM))
        self._patches = torch.cat([patches, self._patches])[: IMAGES * cells[0] * cells[1]]
        for _ in range(ROUNDS):
            ratio = self._target.clamp(min=LEAST) / self._weighted().clamp(min=LEAST)
            self._tilts = (self._tilts + ratio.log()).clamp(-self._bound, self._bound)
        return self._scalars()

    @torch.no_grad()
    def weights(self, source_labels: Tensor, cells: tuple[int, int]) -> Tensor:
        """(N, 1, *cells) float32, about 1 on average: how much the patches of (N, H, W) train ids count."""
        patches = patch_shares(source_labels, cells, len(self._tilts))
        return ((patches @ self._tilts).exp() / self._mean).unsqueeze(1)

    def _weighted(self) -> Tensor:
        """The weighted source's class shares."""
        shares = (self._patches @ self._tilts).exp() @ self._patches
        return shares / shares.sum().clamp(min=LEAST)

    def _scalars(self) -> dict[str, Tensor]:
        weights = (self._patches @ self._tilts).exp()
        self._mean = weights.mean()
        source = self._patches.sum(0) / self._patches.sum().clamp(min=LEAST)
        return {
            "shares/apart": (source - self._target).abs().sum() / 2,
            "shares/left": (self._weighted() - self._target).abs().sum() / 2,
            "shares/effective": self._mean**2 / (weights**2).mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"target": self._target, "tilts": self._tilts, "patches": self._patches, "batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        device = self._target.device
        self._target, self._tilts, self._patches = (state[n].to(device) for n in ("target", "tilts", "patches"))
        self._batches = state["batches"]


def patch_shares(labels: Tensor, cells: tuple[int, int], classes: int) -> Tensor:
    """(N, H, W) train ids, 255 ignored -> (N, *cells, classes) float32: each class's share of each cell's pixels.

    The shares of a cell sum to 1, or are all 0 where every pixel is ignored.
    """
    one_hot = functional.one_hot(labels.long().clamp(max=classes), classes + 1)[..., :classes]
    shares = functional.adaptive_avg_pool2d(one_hot.permute(0, 3, 1, 2).float(), cells)
    return (shares / shares.sum(1, keepdim=True).clamp(min=LEAST)).permute(0, 2, 3, 1)
