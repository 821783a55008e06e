"""A run from end to end, and what it leaves. Mistakes are sentences."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers.runs import STEPS, last, losses, run_folder, train
from PIL import Image

from adaptseg_training.checkpoint import TRAINING, load_checkpoint, load_generator
from adaptseg_training.cli.common import guarded
from adaptseg_training.cli.train import train_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with run_folder(tmp_path_factory.mktemp("train")) as place:
        yield place


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The uninterrupted run that the others are compared with."""
    code, said = train(folder, "tiny.yaml", "--run.name", "whole")
    assert code == 0, said
    return folder / "runs" / "whole"


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


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command may be given in this process: it comes to no step."""
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["tiny.yaml", "--run.name", "whole"], "--run.resume"),
        (["--run.resume", "nowhere"], "config.yaml"),
        (["tiny.yaml", "--source.dataset", "camvid"], "--source.root is not set"),
        (["tiny.yaml", "--run.device", "cuda:7"], "--run.device cuda:7"),
        ([], "which preset"),
    ],
)
@pytest.mark.usefixtures("here", "run")
def test_a_mistake_is_a_sentence(flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded("adaptseg-train", train_command, flags) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_loss_that_is_no_number_stops_the_run(folder: Path) -> None:
    code, said = train(folder, "tiny.yaml", "--run.name", "nan", "--run.stop-step", "30", "--optimiser.lr", "1e12")
    assert code == 1
    assert "diverged" in said
    assert "--optimiser.lr" in said
    assert list((folder / "runs" / "nan" / "checkpoints").glob("diverged_*"))


def test_a_flag_that_does_not_fit_leaves_the_run_as_it_was(folder: Path, run: Path) -> None:
    before = (run / "config.yaml").read_bytes()
    for flags, misused, sentence in (
        (["--generator.backbone", "resnet101", "--generator.weights", "none"], 1, "no flag may change the network"),
        (["--label-set", "cross-city"], 2, "--label-set cross-city: the run was trained with cityscapes"),
    ):
        code, said = train(folder, "--run.resume", str(run), *flags)
        assert code == misused, said
        assert sentence in said
        assert (run / "config.yaml").read_bytes() == before
    assert train(folder, "--run.resume", str(run))[0] == 0


@pytest.mark.usefixtures("here")
def test_a_damaged_checkpoint_is_a_sentence(folder: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every kind of damage: test_state.py."""
    copy = folder / "runs" / "damaged"
    shutil.copytree(run, copy, symlinks=True)
    (last(copy) / TRAINING).write_bytes(b"rubbish" * 99)
    assert guarded("adaptseg-train", train_command, ["--run.resume", str(copy)]) == 1
    assert "resume again" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--run.precision", "bf16", "--run.deterministic"], ["--optimiser.no-fused"]])
def test_options_of_speed_stay_near_the_default(folder: Path, run: Path, flags: list[str]) -> None:
    """bfloat16 keeps 8 bits: its first losses are within a few percent, and its weights float32."""
    name = flags[-1].strip("-")
    code, said = train(folder, "tiny.yaml", *flags, "--run.name", name, "--run.stop-step", "1")
    assert code == 0, said
    found, expected = losses(folder / "runs" / name)[0], losses(run)[0]
    for key in ("seg/main", "adv/main", "disc_source/aux"):
        assert float(found[key]) == pytest.approx(float(expected[key]), rel=0.03)
    assert {tensor.dtype for tensor in load_checkpoint(folder / "runs" / name).generator_state.values()} == {
        tensor.dtype for tensor in load_checkpoint(run).generator_state.values()
    }
