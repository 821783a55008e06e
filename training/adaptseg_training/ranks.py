"""What the ranks of a run make sure of together: that they start alike, and that all are ready for the next step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
from torch import nn

from adaptseg_serve.labels import IGNORE_ID
from adaptseg_training.batch import Batch
from adaptseg_training.errors import CheckpointError, DataError
from adaptseg_training.interrupts import Interrupt
from adaptseg_training.world import World


def check_alike(world: World, start: int, generator: nn.Module, run: Path) -> None:
    """CheckpointError unless all ranks start from the same step and the same weights."""
    if world.size == 1:
        return
    weights = [tensor.cpu().contiguous().numpy() for tensor in generator.state_dict().values()]
    if len(set(world.gather((start, *map(crc32, weights))))) > 1:
        raise CheckpointError(
            f"the processes of this run don't start from the same weights. {run} and --generator.weights must "
            "be the same files for all of them: on several machines, files of a shared file system."
        )


class Ready:
    """Asks, ahead of each step, whether every rank is ready for it."""

    def __init__(self, world: World, interrupt: Interrupt) -> None:
        self._world, self._interrupt = world, interrupt
        self.skipped: list[DataError] = []
        """Unreadable samples of this rank that nobody was told of yet."""

    def batches(
        self, stream: Iterator[list[Batch]], steps: int, skipped: Callable[[DataError], None]
    ) -> Iterator[tuple[int, list[Batch]]]:
        """For each step: a signal that any rank got (or 0), and this rank's batches.

        stream: this rank's batches of each step, with weights to be set here. `skipped` hears of the unreadable
        samples of all ranks. Raises what any rank raised: DataError if batches can't be had.
        """
        for _ in range(steps):
            batches = [] if self._interrupt.number else next(stream)
            mine = (self._interrupt.number, [_pixels(batch) for batch in batches], self.skipped.copy())
            self.skipped.clear()
            said = self._world.gather(mine)
            for error in (error for _, _, errors in said for error in errors):
                skipped(error)
            signal = max(number for number, _, _ in said)
            yield signal, [] if signal else _weighted(batches, [counts for _, counts, _ in said], self._world)
        self._world.gather(None)  # what rank 0 does after the last step may fail, too


def step_seed(seed: int, step: int, rank: int) -> int:
    """Every random number of a step comes from this: a resumed run draws those of the uninterrupted one."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def _weighted(batches: Sequence[Batch], counts: Sequence[Sequence[int]], world: World) -> list[Batch]:
    """counts: labelled pixels by rank and batch."""
    totals = [sum(column) for column in zip(*counts, strict=True)]
    own = counts[world.rank]
    return [replace(batch, weight=own[i] * world.size / max(1, totals[i])) for i, batch in enumerate(batches)]


def _pixels(batch: Batch) -> int:
    return int((batch.source_labels != IGNORE_ID).sum())
