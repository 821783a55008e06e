"""The processes that train one run together, and the little they say to each other; see docs/adr/0003.

torchrun starts them and tells each its rank. Without torchrun there is one process, and nothing here does anything.
What the ranks say (errors, signals, counts of pixels) goes over gloo, on the CPU, whatever the device: it costs no
synchronisation with a GPU, and a rank that failed can say so before the others wait for its gradients.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from adaptseg_serve.errors import AdaptSegError, ConfigError
from adaptseg_training.errors import PeerError, StepError

T = TypeVar("T")

_BUCKET_BYTES = 32 << 20
"""Gradients travel in pieces of about this size: a message for each of 200 tensors would wait for the network
200 times, one message for all would double the gradients' memory."""
_TIMEOUT = timedelta(hours=2)
"""An evaluation by rank 0 alone may take so long. A rank that dies is noticed at once, by its closed connection."""


class World:
    """This process among those of its run; by itself unless `join` said otherwise."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._told = self._gone = False

    @property
    def is_first(self) -> bool:
        """Rank 0 writes the files and speaks to people."""
        return self.rank == 0

    def gather(self, mine: T | Exception) -> list[T]:
        """What each rank gives, by rank, to all of them. An error that a rank gives is raised by all.

        Every rank must call it; PeerError if one is gone.
        """
        everything: list[Any] = [mine]
        if self.size > 1:
            everything = [None] * self.size
            self._together(partial(distributed.all_gather_object, everything, mine))
        for each in everything:
            if isinstance(each, Exception):
                self._told = True
                raise each
        return everything

    def first(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0, the only rank that calls it, or its error, for all."""
        if self.size == 1:
            return make()
        mine: T | Exception | None = None
        if self.is_first:
            try:
                mine = make()
            except Exception as error:
                mine = _sendable(error)
        return self.gather(mine)[0]  # type: ignore[return-value]  # rank 0 gave a T

    def tell(self, error: Exception) -> None:
        """Before this rank leaves for an error: the others raise it from their next `gather`, instead of waiting."""
        if self.size > 1 and not self._told:
            try:
                self.gather(_sendable(error))
            except Exception:  # it is this very error, or one that came first; the caller raises its own
                self._told = True

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor := its mean over the ranks, in place, with the same bits on every rank.

        A rank that failed since the last `gather` is heard first.
        """
        if self.size == 1:
            return
        self.gather(None)
        for bucket in buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
            self._together(partial(distributed.all_reduce, flat))
            pieces = torch.split(flat.div_(self.size), [tensor.numel() for tensor in bucket])
            for tensor, piece in zip(bucket, pieces, strict=True):
                tensor.detach().copy_(piece.view(tensor.shape))

    def slice(self, count: int) -> range:
        """This rank's part of `count` things that the ranks share out in order; `count` must be divisible."""
        share = count // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def check_batch(self, batch_size: int) -> None:
        """ConfigError unless each rank gets as many images of a batch as every other."""
        if batch_size % self.size:
            raise ConfigError(
                f"--run.batch-size {batch_size} can't be shared out evenly to {self.size} processes: it counts the "
                f"images of all of them together. Choose a multiple of {self.size}."
            )

    def _together(self, collective: Callable[[], Any]) -> None:
        try:
            collective()
        except (RuntimeError, distributed.DistError) as error:
            self._told = self._gone = True
            raise PeerError(f"another process of this run is gone ({_first_line(error)}).") from error

    def leave(self) -> None:
        """Go when the others do: torchrun ends all ranks soon after the first has gone, and rank 0 may be saving."""
        if self.size > 1 and not self._gone:
            with suppress(RuntimeError, distributed.DistError):
                distributed.all_gather_object([None] * self.size, None)
                distributed.destroy_process_group()


def local_rank() -> int | None:
    """This process's number on its machine; None if torchrun didn't start it."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


def started_together() -> int:
    """How many processes torchrun started this one with, itself counted; 1 without it."""
    return 1 if local_rank() is None else int(os.environ["WORLD_SIZE"])


def join(device: torch.device) -> World:
    """Meet the other processes that torchrun started; alone without it. device: as `choose_device` gave it."""
    if started_together() == 1 or not distributed.is_available():
        return World()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    return World(distributed.get_rank(), distributed.get_world_size())


def buckets(tensors: Sequence[Tensor], most: int = _BUCKET_BYTES) -> list[list[Tensor]]:
    """`tensors` in order, grouped into pieces of one dtype and of at most `most` bytes (or of one bigger tensor)."""
    pieces: list[list[Tensor]] = []
    size = 0
    for tensor in tensors:
        size += tensor.nbytes
        if not pieces or size > most or pieces[-1][0].dtype != tensor.dtype:
            pieces.append([])
            size = tensor.nbytes
        pieces[-1].append(tensor)
    return pieces


def _sendable(error: Exception) -> Exception:
    """Errors of ours and of the system travel as they are; any other might not survive the journey."""
    return error if isinstance(error, AdaptSegError | OSError) else StepError(repr(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0]
