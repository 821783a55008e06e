"""Worker processes that prepare batches ahead of the training step.

A sample is a function of (seed, position) alone: workers hold no state, so a run resumed at a step gets the
very batches it would have got.
"""

import signal
from collections.abc import Iterator, Sequence
from itertools import count

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adaptseg_training.data.prepare import Pair, Preparer
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.data.sampler import generator_at, sample_index
from adaptseg_training.errors import DataError


class SampleStream(Dataset[Pair | DataError]):
    """Position -> prepared sample, without an end."""

    def __init__(self, images: ImageSet, preparer: Preparer, seed: int) -> None:
        self._images, self._preparer, self._seed = images, preparer, seed

    def __getitem__(self, position: int) -> Pair | DataError:
        index = sample_index(self._seed, position, len(self._images))
        try:
            return self._preparer(self._images[index], generator_at(self._seed, position))
        except DataError as error:  # raised in the main process: a worker's exception arrives as a traceback
            return error


def batches(stream: SampleStream, first: int, size: int, workers: int, pin: bool) -> Iterator[Pair]:
    """(N, 3, H, W) uint8 images and (N, H, W) uint8 label maps, from batch number `first` on, for ever."""
    loader: DataLoader[Pair | DataError] = DataLoader(
        stream,
        batch_sampler=_positions(first, size),
        num_workers=workers,
        collate_fn=_stack,
        worker_init_fn=_prepare_worker if workers else None,
        generator=torch.Generator(),  # else it draws from the global one, which belongs to the step
        pin_memory=pin,
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


def _positions(first: int, size: int) -> Iterator[list[int]]:
    return (list(range(number * size, (number + 1) * size)) for number in count(first))


def _stack(samples: Sequence[Pair | DataError]) -> tuple[Tensor, Tensor] | DataError:
    pairs: list[Pair] = []
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        pairs.append(sample)
    images, labels = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(labels)


def _prepare_worker(worker: int) -> None:
    """Ctrl-C reaches the whole process group: only the main process answers it, and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
