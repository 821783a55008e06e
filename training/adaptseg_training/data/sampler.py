"""Which sample comes when: a function of the seed and the position, so a resumed run needs no saved state."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def sample_index(seed: int, position: int, count: int) -> int:
    """Index of the sample at `position` of an endless pass over `count` samples, shuffled anew each round."""
    epoch, offset = divmod(position, count)
    return int(_shuffled(seed, epoch, count)[offset])


def generator_at(seed: int, position: int) -> np.random.Generator:
    """The random numbers of the sample at `position`: for its augmentation, whichever worker does it."""
    return np.random.default_rng((seed, position, 1))


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch, 0)).permutation(count)
