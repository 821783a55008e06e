"""A run from end to end, stopped, killed and resumed: on the CPU it ends with the very same bits."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from adaptseg_training.checkpoint import load_checkpoint, load_generator, load_training_state

STEPS = 4
TINY = {
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("train")
    (place / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return place


def command(*argv: str) -> list[str]:
    return [sys.executable, "-c", "from adaptseg_training.cli.train import main; main()", *argv]


def train(folder: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*argv), cwd=folder, capture_output=True, text=True, timeout=300)


@contextmanager
def training(folder: Path, argv: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """A run in the background, gone when the block ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*argv), cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    give_up = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < give_up, f"{path} never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The uninterrupted run that the others are compared with."""
    done = train(folder, "tiny.yaml", "--run.name", "whole")
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "whole"


def last(run: Path) -> Path:
    return run / "checkpoints" / f"step_{STEPS:08d}"


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


def assert_same_run(run: Path, other: Path) -> None:
    assert_same(load_checkpoint(last(run)).generator_state, load_checkpoint(last(other)).generator_state)
    assert_same(load_training_state(last(run)), load_training_state(last(other)))
    assert losses(run) == losses(other)


def losses(run: Path) -> list[dict[str, str]]:
    with (run / "scalars.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "frames_per_second"} for row in csv.DictReader(stream)]


def test_the_run_folder_holds_what_it_promises(run: Path) -> None:
    assert yaml.safe_load((run / "config.yaml").read_text())["optimiser"]["lr"] == 0.001
    assert [row["step"] for row in losses(run)] == [str(i + 1) for i in range(STEPS)]
    assert {"seg/main", "adv/aux", "disc_accuracy/main", "lr"} <= losses(run)[0].keys()
    assert list((run / "tensorboard").glob("events.*"))
    with Image.open(run / "previews" / "step_00000002.png") as picture:
        assert picture.width > picture.height / 3
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 <= metrics["best_miou"] <= 1


def test_old_checkpoints_go_and_no_scraps_stay(run: Path) -> None:
    names = {p.name for p in (run / "checkpoints").iterdir()}
    assert names == {"best", f"step_{STEPS - 1:08d}", f"step_{STEPS:08d}"}


def test_a_checkpoint_gives_the_generator_back(run: Path) -> None:
    checkpoint = load_checkpoint(run)
    assert (checkpoint.step, checkpoint.preset) == (STEPS, "tiny.yaml")
    assert not load_generator(checkpoint).training


def test_a_resumed_run_ends_with_the_same_bits(folder: Path, run: Path) -> None:
    assert train(folder, "tiny.yaml", "--run.name", "halves", "--run.stop-step", "2").returncode == 0
    done = train(folder, "--run.resume", "runs/halves", "--run.stop-step", str(STEPS))
    assert done.returncode == 0, done.stderr
    resumed = folder / "runs" / "halves"
    assert_same(load_checkpoint(last(run)).generator_state, load_checkpoint(last(resumed)).generator_state)
    assert_same(load_training_state(last(run)), load_training_state(last(resumed)))


@pytest.mark.parametrize("moment", ["checkpoints/step_00000001", "checkpoints/.*"])
def test_a_killed_run_goes_on_to_the_same_bits(folder: Path, run: Path, moment: str) -> None:
    name = f"killed{len(moment)}"
    place = folder / "runs" / name
    with training(folder, ["tiny.yaml", "--run.name", name]) as process:
        give_up = time.monotonic() + 200
        while not list(place.glob(moment)) or not list(place.glob("checkpoints/step_00000001")):
            assert process.poll() is None
            assert time.monotonic() < give_up
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = train(folder, "--run.resume", f"runs/{name}")
    assert done.returncode == 0, done.stderr
    assert_same_run(run, place)


def test_an_interrupted_run_saves_and_says_how_to_go_on(folder: Path, run: Path) -> None:
    place = folder / "runs" / "interrupted"
    with training(folder, ["tiny.yaml", "--run.name", "interrupted"]) as process:
        wait_for(place / "checkpoints" / "step_00000001", process)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=200)
    if process.returncode != 0:  # on a quick machine the run may end before the signal comes
        assert re.search(r"stopped after step \d.*adaptseg-train --run.resume runs/interrupted", said, re.DOTALL), said
        assert train(folder, "--run.resume", "runs/interrupted").returncode == 0
    assert_same_run(run, place)


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (["tiny.yaml", "--run.name", "whole"], 2, "--run.resume"),
        (["--run.resume", "nowhere"], 2, "config.yaml"),
        (["tiny.yaml", "--source.dataset", "camvid"], 2, "--source.root is not set"),
        (["tiny.yaml", "--run.device", "cuda:7"], 2, "--run.device cuda:7"),
        ([], 2, "which preset"),
    ],
)
def test_a_mistake_is_a_sentence(folder: Path, run: Path, flags: list[str], code: int, sentence: str) -> None:
    done = train(folder, *flags)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_no_number_stops_the_run(folder: Path) -> None:
    done = train(folder, "tiny.yaml", "--run.name", "nan", "--run.stop-step", "30", "--optimiser.lr", "1e12")
    assert done.returncode == 1
    assert "diverged" in done.stderr
    assert "--optimiser.lr" in done.stderr
    assert list((folder / "runs" / "nan" / "checkpoints").glob("diverged_*"))


def test_a_flag_that_does_not_fit_leaves_the_run_as_it_was(folder: Path, run: Path) -> None:
    before = (run / "config.yaml").read_bytes()
    done = train(folder, "--run.resume", str(run), "--generator.backbone", "resnet101", "--generator.weights", "none")
    assert done.returncode == 1, done.stderr
    assert "no flag may change the network" in done.stderr
    assert (run / "config.yaml").read_bytes() == before
    assert train(folder, "--run.resume", str(run)).returncode == 0


@pytest.mark.parametrize("name", ["training.pt", "generator.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_checkpoint_is_a_sentence(folder: Path, run: Path, name: str, damage: str) -> None:
    copy = folder / "runs" / f"{damage}_{name}"
    shutil.copytree(run, copy, symlinks=True)
    file = last(copy) / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"rubbish" * 99)
    done = train(folder, "--run.resume", str(copy))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert name in done.stderr
    assert "resume again" in done.stderr
