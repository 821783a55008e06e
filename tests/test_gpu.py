"""What only a GPU can show; `pytest -m gpu tests/test_gpu.py` runs it on one, with two GPUs NCCL too."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.runs import assert_same, assert_same_run, last, train, write_tiny

from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.checkpoint import load_checkpoint
from adaptseg_training.config import GeneratorConfig, LevelConfig, Precision, RunConfig, TrainConfig
from adaptseg_training.precision import set_up_arithmetic

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CONFIG = TrainConfig(
    generator=GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"),
    aux=LevelConfig(0.1, 0.002),
    main=LevelConfig(1.0, 0.01),
)


def steps(
    run: RunConfig, device: str = "cuda", count: int = 2, target_size: tuple[int, int] = (96, 128)
) -> tuple[dict[str, object], list[dict[str, float]]]:
    where = torch.device(device)
    set_up_arithmetic(run, where)
    torch.manual_seed(0)
    adaptation = Adaptation(replace(CONFIG, run=run), 19, where)
    if run.compile:
        adaptation.generator.compile(dynamic=False)
    random = torch.Generator().manual_seed(0)
    source = torch.randint(0, 256, (2, 3, 96, 128), generator=random, dtype=torch.uint8)
    target = torch.randint(0, 256, (2, 3, *target_size), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 19, (2, 96, 128), generator=random, dtype=torch.uint8)
    batch = Batch(source, labels, target).to(where)
    losses = [adaptation.step(step, [batch]) for step in range(count)]
    return adaptation.state_dict(), losses


def assert_near(found: list[dict[str, float]], expected: list[dict[str, float]], tolerance: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        names = [name for name in theirs if not name.startswith("disc_accuracy")]
        assert [ours[name] for name in names] == pytest.approx([theirs[name] for name in names], rel=tolerance)


def test_cuda_computes_what_the_cpu_does() -> None:
    assert_near(steps(RunConfig())[1], steps(RunConfig(), "cpu")[1], 1e-3)


@pytest.mark.parametrize(("precision", "tolerance"), [("tf32", 1e-2), ("bf16", 5e-2)])
def test_lower_precisions_stay_near(precision: Precision, tolerance: float) -> None:
    assert_near(steps(RunConfig(precision=precision))[1], steps(RunConfig())[1], tolerance)


def test_compiling_stays_near_with_a_size_for_each_domain() -> None:
    compiled, plain = (steps(RunConfig(compile=one), target_size=(64, 96))[1] for one in (True, False))
    assert_near(compiled, plain, 1e-3)


def test_deterministic_mode_gives_the_same_bits_again() -> None:
    try:
        assert_same(steps(RunConfig(deterministic=True)), steps(RunConfig(deterministic=True)))
    finally:
        set_up_arithmetic(RunConfig(), torch.device("cuda"))


def test_a_resumed_run_ends_with_the_same_bits_on_cuda(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "runs")
    flags = ("--run.device", "cuda", "--run.deterministic")
    assert train(folder, "tiny.yaml", *flags, "--run.name", "whole")[0] == 0
    assert train(folder, "tiny.yaml", *flags, "--run.name", "halves", "--run.stop-step", "2")[0] == 0
    code, said = train(folder, "--run.resume", "runs/halves", "--run.stop-step", "4")
    assert code == 0, said
    assert_same_run(folder / "runs" / "whole", folder / "runs" / "halves")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_train_as_one(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "runs")
    flags = ("tiny.yaml", "--run.device", "cuda", "--run.batch-size", "2")
    assert train(folder, *flags, "--run.name", "one")[0] == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    train_it = [sys.executable, "-c", "from adaptseg_training.cli.train import main; main()", *flags]
    done = subprocess.run([*torchrun, *train_it, "--run.name", "two"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (load_checkpoint(last(folder / "runs" / name)).generator_state for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
