"""Worker processes that prepare batches ahead of the training step.

A sample is a function of (seed, position) alone: workers hold no state, so a run resumed at a step gets the
very batches it would have got. So is the sample that takes an unreadable one's place: that of the next position.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from adaptseg_training.data.prepare import Pair, Preparer
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.data.sampler import generator_at, sample_index
from adaptseg_training.errors import DataError, WorkerDied

MOST_SKIPS = 100
"""So many unreadable samples in a row are no accident."""


class Fetched(NamedTuple):
    """A sample or a batch, and what was unreadable on the way: raised or reported in the main process, since a
    worker's exception would arrive as a traceback."""

    pair: Pair | None
    errors: Sequence[DataError]


class SampleStream(Dataset[Fetched]):
    """Position -> prepared sample, without an end. `skip`: the next position's sample replaces an unreadable one."""

    def __init__(self, images: ImageSet, preparer: Preparer, seed: int, skip: bool = False) -> None:
        self._images, self._preparer, self._seed = images, preparer, seed
        self._tries = MOST_SKIPS if skip else 1

    def __getitem__(self, position: int) -> Fetched:
        errors: list[DataError] = []
        for stand_in in range(position, position + self._tries):
            index = sample_index(self._seed, stand_in, len(self._images))
            try:
                return Fetched(self._preparer(self._images[index], generator_at(self._seed, position)), errors)
            except DataError as error:
                errors.append(error)
        return Fetched(None, errors)


def batches(
    stream: SampleStream,
    first: int,
    size: int,
    workers: int,
    pin: bool,
    skipped: Callable[[DataError], None] = lambda error: None,
    part: range | None = None,
) -> Iterator[Pair]:
    """(N, 3, H, W) uint8 images and (N, H, W) uint8 label maps, from batch number `first` on, for ever.

    `part`: which of the `size` images of each batch; all by default. `skipped` hears of every unreadable sample that
    another one replaced; DataError where none could. WorkerDied if a worker process did.
    """
    loader: DataLoader[Fetched] = DataLoader(
        stream,
        batch_sampler=_positions(first, size, part or range(size)),
        num_workers=workers,
        collate_fn=_stack,
        worker_init_fn=_prepare_worker if workers else None,
        generator=torch.Generator(),  # else it draws from the global one, which belongs to the step
        pin_memory=pin,
    )
    iterator = _started(loader)
    while True:
        batch = _next(iterator)
        if batch.pair is None:
            raise batch.errors[-1]
        for error in batch.errors:
            skipped(error)
        yield batch.pair


def _started(loader: "DataLoader[Fetched]") -> Iterator[Fetched]:
    """The loader's iterator, without the SIGCHLD handler that comes with it: that one raises a worker's death out of
    whatever the main process is doing, in the middle of an update or a save. The iterator finds out by itself."""
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return iterator


def _next(iterator: Iterator[Fetched]) -> Fetched:
    try:
        return next(iterator)
    except (RuntimeError, ConnectionError, EOFError) as error:  # the latter two: it died while it handed a batch over
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        how = str(error) or type(error).__name__
        raise WorkerDied(
            f"a process that prepares images died: {how}. If memory ran out, use fewer of them (--run.workers)."
        ) from error


def _positions(first: int, size: int, part: range) -> Iterator[list[int]]:
    return ([number * size + i for i in part] for number in count(first))


def _stack(samples: Sequence[Fetched]) -> Fetched:
    pairs: list[Pair] = []
    errors: list[DataError] = []
    for pair, unreadable in samples:
        errors += unreadable
        if pair is None:
            return Fetched(None, errors)
        pairs.append(pair)
    images, labels = zip(*pairs, strict=True)
    return Fetched((torch.stack(images), torch.stack(labels)), errors)


def _prepare_worker(worker: int) -> None:
    """Ctrl-C reaches the whole process group: only the main process answers it, and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
    main = multiprocessing.parent_process()
    if main is not None and main.pid != os.getppid():  # DataLoader's workers watch over their parent: a fork server.
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()


def _end_with(process: BaseProcess) -> None:
    """A main process that was killed can't end its workers: they would wait for ever, with their gigabytes."""
    process.join()
    os._exit(1)
