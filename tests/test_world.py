"""Several processes over gloo: the same training as one process with the same batches."""

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.runs import (
    STEPS,
    Rank,
    assert_same,
    assert_same_run,
    free_port,
    last,
    losses,
    run_folder,
    train,
    train_in_ranks,
)
from torch import Tensor, nn

from adaptseg_serve.errors import ConfigError
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.checkpoint import load_checkpoint
from adaptseg_training.config import GeneratorConfig, LevelConfig, OptimiserConfig, TrainConfig
from adaptseg_training.devices import choose_device
from adaptseg_training.interrupts import Interrupt
from adaptseg_training.ranks import Ready
from adaptseg_training.world import World, buckets, join

CPU = torch.device("cpu")
CLASSES = 4
FROZEN = TrainConfig(
    generator=GeneratorConfig(backbone="lite0", weights="none", bn="frozen"),
    aux=LevelConfig(0.1, 0.002),
    main=LevelConfig(1.0, 0.01),
    optimiser=OptimiserConfig(lr=1e-3),
)
VARIANTS = {
    "multi": FROZEN,
    "single, least squares": replace(FROZEN, aux=LevelConfig(0, 0), gan="ls"),
    "source only": replace(FROZEN, aux=LevelConfig(0.1, 0), main=LevelConfig(1.0, 0)),
    "accumulating": replace(FROZEN, optimiser=replace(FROZEN.optimiser, accumulate=2)),
}
REFERENCE = replace(FROZEN, generator=replace(FROZEN.generator, bn="reference"))


class ToDouble(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.double() / 64 - 2


def adaptation(config: TrainConfig, world: World | None = None) -> Adaptation:
    torch.manual_seed(0)
    made = Adaptation(config, CLASSES, CPU, world=world)
    made.generator.double()
    made.discriminators.double()
    made.normalise = ToDouble()
    return made


def batch(seed: int) -> Batch:
    """Two images per domain; most labels of the first image are ignored, of every third batch all."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (2, 48, 64), generator=random, dtype=torch.uint8)
    labels[0, : 48 if seed % 3 == 0 else 40] = 255
    images = torch.randint(0, 256, (4, 3, 48, 64), generator=random, dtype=torch.uint8)
    return Batch(images[:2], labels, images[2:])


def _share(whole: Batch, part: slice) -> Batch:
    assert whole.target_images is not None
    return Batch(whole.source_images[part], whole.source_labels[part], whole.target_images[part])


def steps(config: TrainConfig, world: World, count: int) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """State and losses after `count` steps, of this rank's share of the batches."""
    ours = adaptation(config, world)
    accumulate = config.optimiser.accumulate
    part = slice(world.slice(2).start, world.slice(2).stop)
    stream = ([_share(batch(step * accumulate + i), part) for i in range(accumulate)] for step in range(count))
    agreed = Ready(world, Interrupt()).batches(stream, count, lambda error: None)
    said = [ours.step(step, batches) for step, (_, batches) in enumerate(agreed)]
    return ours.state_dict(), said


def _rank(rank: Rank, config: TrainConfig, count: int, answer: Path) -> None:
    rank()
    torch.set_num_threads(1)
    world = join(CPU)
    torch.save(steps(config, world, count), answer)
    world.leave()


def in_ranks(config: TrainConfig, folder: Path, count: int) -> list[tuple[dict[str, Any], list[dict[str, float]]]]:
    """`steps` of two processes."""
    context, port = multiprocessing.get_context("forkserver"), free_port()
    processes = [
        context.Process(target=_rank, args=(Rank(rank, 2, port), config, count, folder / f"{rank}.pt"))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def assert_close(found: Any, expected: Any, tolerance: float, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_close(found[key], expected[key], tolerance, f"{where}/{key}")
    elif isinstance(expected, list | tuple):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_close(one, other, tolerance, f"{where}/{index}")
    elif isinstance(expected, Tensor):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, msg=where)
    else:
        assert found == pytest.approx(expected, rel=tolerance), where


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_train_as_one(name: str, tmp_path: Path) -> None:
    expected_state, expected_losses = steps(VARIANTS[name], World(), 2)
    ranks = in_ranks(VARIANTS[name], tmp_path, 2)
    for state, found in ranks:
        assert_close(found, expected_losses, 1e-12)
        assert_close(state["generator"], expected_state["generator"], 1e-12)
        # Adam divides a gradient by its size: where one is nearly 0, its rounding shows.
        assert_close(state["discriminators"], expected_state["discriminators"], 1e-7)
    assert_same(ranks[0], ranks[1])


def test_reference_statistics_are_each_ranks_own_and_averaged(tmp_path: Path) -> None:
    """Documented: each rank normalises by its own batch, as accumulated batches do, and the running ones are means."""
    ranks = in_ranks(REFERENCE, tmp_path, count=1)
    assert_same(ranks[0], ranks[1])
    shares = [_share(batch(0), slice(i, i + 1)) for i in range(2)]
    pixels = [int((share.source_labels != 255).sum()) for share in shares]
    weighted = [replace(b, weight=2 * p / sum(pixels)) for b, p in zip(shares, pixels, strict=True)]
    accumulating = adaptation(REFERENCE)
    assert_close(ranks[0][1], [accumulating.step(0, weighted)], 1e-12)
    apart = [adaptation(REFERENCE) for _ in shares]
    for one, share in zip(apart, shares, strict=True):
        one.step(0, [share])
    state = ranks[0][0]["generator"]
    for name, parameter in accumulating.generator.named_parameters():
        torch.testing.assert_close(state[name], parameter.data, rtol=1e-12, atol=1e-12, msg=name)
    for name in [name for name in state if name.endswith(("running_mean", "running_var"))]:
        mean = (apart[0].generator.get_buffer(name) + apart[1].generator.get_buffer(name)) / 2
        torch.testing.assert_close(state[name], mean, rtol=1e-12, atol=1e-12, msg=name)


def test_buckets_keep_order_and_types_apart() -> None:
    single, double = torch.float32, torch.float64
    tensors = [torch.empty(n, dtype=t) for n, t in ((3, single), (2, single), (9, double), (1, single))]
    assert [[t.numel() for t in bucket] for bucket in buckets(tensors, most=20)] == [[3, 2], [9], [1]]
    assert [[t.numel() for t in bucket] for bucket in buckets(tensors, most=16)] == [[3], [2], [9], [1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with run_folder(tmp_path_factory.mktemp("world")) as place:
        yield place


TWO = ("tiny.yaml", "--run.batch-size", "2")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """By two processes, uninterrupted."""
    ranks = train_in_ranks(folder, *TWO, "--run.name", "whole")
    assert [code for code, _ in ranks] == [0, 0], ranks
    assert "mIoU" in ranks[0][1]
    assert ranks[1][1] == "", "only rank 0 speaks"
    return folder / "runs" / "whole"


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The same by one process."""
    code, said = train(folder, *TWO, "--run.name", "alone")
    assert code == 0, said
    return folder / "runs" / "alone"


def test_a_run_of_two_is_a_run_of_one_with_the_same_batches(run: Path, alone: Path) -> None:
    """float32: the order of sums differs, in the sixth digit of a loss after a few steps."""
    for found, expected in zip(losses(run), losses(alone), strict=True):
        for name, value in expected.items():
            assert float(found[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6), (found["step"], name)


def test_rank_0_writes_what_one_process_writes(run: Path, alone: Path) -> None:
    def written(place: Path) -> set[str]:
        names = {str(path.relative_to(place)) for path in place.rglob("*")}
        return {name for name in names if "events" not in name}

    assert written(run) == written(alone)


def test_a_resumed_run_of_two_ends_with_the_same_bits(folder: Path, run: Path) -> None:
    begin = [*TWO, "--run.name", "halves", "--run.stop-step", "2"]
    for flags in (begin, ["--run.resume", "runs/halves", "--run.stop-step", str(STEPS)]):
        ranks = train_in_ranks(folder, *flags)
        assert [code for code, _ in ranks] == [0, 0], ranks
    halves = folder / "runs" / "halves"
    one, other = load_checkpoint(last(run)), load_checkpoint(last(halves))
    assert all(torch.equal(tensor, other.generator_state[name]) for name, tensor in one.generator_state.items())
    assert losses(run) == losses(halves)


def test_a_batch_that_cannot_be_shared_out_is_refused_once(folder: Path) -> None:
    ranks = train_in_ranks(folder, "tiny.yaml", "--run.batch-size", "3")
    assert [code for code, _ in ranks] == [2, 2]
    assert "--run.batch-size 3" in ranks[0][1]
    assert ranks[1][1] == ""


def test_torchrun_starts_it(folder: Path, run: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    train_it = [sys.executable, "-c", "from adaptseg_training.cli.train import main; main()", *TWO]
    done = subprocess.run([*command, *train_it, "--run.name", "torchrun"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mIoU") == 1
    assert_same_run(run, folder / "runs" / "torchrun")


def test_one_gpu_for_all_of_torchruns_processes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--run\.device cuda:1: torchrun .* Use --run\.device cuda;"):
        choose_device("cuda:1", local_rank=0)
    with pytest.raises(ConfigError, match="--device nowhere can't be used here"):
        choose_device("nowhere", flag="--device")
    assert choose_device("cpu", local_rank=1) == CPU


@pytest.mark.parametrize(
    ("name", "rank", "current"), [("cuda", 1, ["cuda:1"]), ("cuda:1", None, ["cuda:1"]), ("cuda", None, [])]
)
def test_the_gpu_that_was_chosen_is_the_current_one(
    monkeypatch: pytest.MonkeyPatch, name: str, rank: int | None, current: list[str]
) -> None:
    """Allocating is faked: there need be no GPU."""
    chosen: list[str] = []
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(str(device)))
    choose_device(name, rank)
    assert chosen == current
