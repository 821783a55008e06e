"""Tiny runs of adaptseg-train, each in a process of its own that may be sabotaged, and what they left compared."""

import csv
import multiprocessing
import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import yaml

from adaptseg_training.checkpoint import load_checkpoint, load_training_state

STEPS = 4
TINY: dict[str, Any] = {
    "generator": {"backbone": "lite0", "weights": "none"},
    "optimiser": {"lr": 0.001, "schedule_steps": 100},
    "source": {"split": "day", "size": [64, 64], "augment": True},
    "target": {"split": "dusk", "size": [64, 64]},
    "evaluate": {"split": "dusk", "first": 1000, "count": 2, "size": [64, 64]},
    "run": {
        "stop_step": STEPS,
        "workers": 0,
        "log_every": 1,
        "checkpoint_every": 1,
        "preview_every": 2,
        "keep": 2,
        "device": "cpu",
    },
}
_PRELOADED = ["adaptseg_training.engine", "adaptseg_training.cli.train", "timm", "torch.utils.tensorboard"]
_PATIENCE = 200.0

Sabotage = Callable[[], None]
"""Runs in the child ahead of the command; must be importable there: a module's function, or a partial of one."""


@dataclass
class Child:
    """adaptseg-train in a process of its own. Forked from a server that has torch loaded: it starts at once."""

    process: ForkServerProcess
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def wait(self) -> int:
        """Its exit code; minus the signal's number if one killed it."""
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        assert code is not None, f"still running; it said:\n{self.said}"
        return code

    def wait_for(self, happened: Callable[[], object]) -> None:
        give_up = time.monotonic() + _PATIENCE
        while not happened():
            assert self.running, self.said
            assert time.monotonic() < give_up, f"it never happened; it said:\n{self.said}"
            time.sleep(0.01)


@contextmanager
def run_folder(place: Path) -> Iterator[Path]:
    """`place` for tiny runs, and gone with the tests that made them: a module of them leaves gigabytes."""
    yield write_tiny(place)
    shutil.rmtree(place)


def write_tiny(folder: Path) -> Path:
    """`folder` with tiny.yaml in it."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return folder


@contextmanager
def started(folder: Path, *argv: str, sabotage: Sabotage | None = None) -> Iterator[Child]:
    """A run in the background, dead when the block ends."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    log = folder / f"log_{time.monotonic_ns()}.txt"
    log.touch()
    process = context.Process(target=_main, args=(folder, log, argv, sabotage))
    process.start()
    try:
        yield Child(process, log)
    finally:
        process.kill()
        process.join()


def train(folder: Path, *argv: str, sabotage: Sabotage | None = None) -> tuple[int, str]:
    """A run to its end: exit code and what it said."""
    with started(folder, *argv, sabotage=sabotage) as child:
        code = child.wait()
        return code, child.said


@contextmanager
def started_ranks(
    folder: Path, *argv: str, sabotages: Sequence[Sabotage | None] = (None, None)
) -> Iterator[list[Child]]:
    """One run by as many processes as there are sabotages, told of each other as torchrun does."""
    port = free_port()
    with ExitStack() as stack:
        ranks = [Rank(rank, len(sabotages), port, sabotage) for rank, sabotage in enumerate(sabotages)]
        yield [stack.enter_context(started(folder, *argv, sabotage=rank)) for rank in ranks]


def train_in_ranks(
    folder: Path, *argv: str, sabotages: Sequence[Sabotage | None] = (None, None)
) -> list[tuple[int, str]]:
    """Such a run to its end: exit code and what it said, by rank."""
    with started_ranks(folder, *argv, sabotages=sabotages) as children:
        return [(child.wait(), child.said) for child in children]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Any file that grows beyond `size` bytes can't be written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Rank:
    """Tells the process that calls it which of `size` it is."""

    rank: int
    size: int
    port: int
    sabotage: Sabotage | None = None

    def __call__(self) -> None:
        told = {"RANK": self.rank, "LOCAL_RANK": self.rank, "WORLD_SIZE": self.size, "MASTER_PORT": self.port}
        os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")
        if self.sabotage is not None:
            self.sabotage()


def _main(folder: Path, log: Path, argv: Sequence[str], sabotage: Sabotage | None) -> None:
    from adaptseg_training.cli.train import main

    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    torch.set_num_threads(1)
    default = multiprocessing.get_all_start_methods()[0]  # what the command would use; a fork server's child uses that
    multiprocessing.set_start_method(default, force=True)
    if sabotage is not None:
        sabotage()
    sys.argv = ["adaptseg-train", *argv]
    main()


def last(run: Path) -> Path:
    return run / "checkpoints" / f"step_{STEPS:08d}"


def assert_same_run(run: Path, other: Path) -> None:
    assert_same(load_checkpoint(last(run)).generator_state, load_checkpoint(last(other)).generator_state)
    assert_same(load_training_state(last(run)), load_training_state(last(other)))
    assert losses(run) == losses(other)
    assert load_checkpoint(run).step == load_checkpoint(other).step, "the best one"


def assert_same(one: object, other: object, where: str = "") -> None:
    """Equal to the last bit, tensors inside dicts and lists included."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}/{index}")
    else:
        assert one == other, where


def losses(run: Path) -> list[dict[str, str]]:
    """The rows of scalars.csv but for the speed."""
    with (run / "scalars.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "frames_per_second"} for row in csv.DictReader(stream)]
