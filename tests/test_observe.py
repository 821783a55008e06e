"""What a run shows while it goes on: scalars, pictures and scores, in TensorBoard and as plain files."""

import csv
import json
from pathlib import Path

import cv2
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaptseg_serve.labels import CITYSCAPES
from adaptseg_training.checkpoint import load_checkpoint
from adaptseg_training.cli.train import parse_command, train_command
from adaptseg_training.data.rendered import DEFAULT_COUNT, SCORED_COUNT
from adaptseg_training.domains import open_domains

FLAGS = """--generator.weights none --run.stop-step 2 --run.log-every 1 --run.preview-every 1 --run.evaluate-every 1
--run.workers 0 --run.device cpu --source.size 64 64 --target.size 64 64 --target.count 3 --run.select infomax
--evaluate.split dusk --evaluate.first 1000 --evaluate.count 1 --evaluate.size 64 64 --aux.seg-weight 0.1
--aux.adv-weight 0.001 --main.adv-weight 0.001 --run.batch-size 1 --run.name seen"""
LEVELS = ("aux", "main")
LOSSES = {
    f"{kind}/{level}" for kind in ("seg", "adv", "disc_source", "disc_target", "disc_accuracy") for level in LEVELS
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert train_command(["smoke", "--run.dir", str(folder), *FLAGS.split()]) == 0
    return folder / "seen"


@pytest.fixture(scope="module")
def board(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run / "tensorboard")).Reload()


def test_a_runs_own_evaluation_draws_few_streets() -> None:
    config = parse_command(["smoke", "--evaluate.count", "0"])[1]
    domains = open_domains(config)
    assert domains.evaluate is not None
    assert (len(domains.evaluate), len(domains.source)) == (SCORED_COUNT, DEFAULT_COUNT)


def test_every_loss_of_every_level_is_in_both(run: Path, board: EventAccumulator) -> None:
    rows = list(csv.DictReader((run / "scalars.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2"]
    shown = LOSSES | {"lr", "frames_per_second"}
    assert shown <= rows[0].keys()
    for name in shown:
        events = board.Scalars(name)
        assert [event.step for event in events] == [1, 2]
        assert [event.value for event in events] == pytest.approx([float(row[name]) for row in rows], rel=1e-6)


def test_pictures_are_in_both(run: Path, board: EventAccumulator) -> None:
    assert [image.step for image in board.Images("preview")] == [1, 2]
    drawn = cv2.imread(str(run / "previews/step_00000002.png"))
    assert drawn is not None
    assert (board.Images("preview")[1].height, board.Images("preview")[1].width) == drawn.shape[:2]


def test_scores_are_in_both(run: Path, board: EventAccumulator) -> None:
    recorded = json.loads((run / "metrics.json").read_text())
    last = recorded["evaluations"][-1]
    assert set(last["iou"]) == set(CITYSCAPES.names)
    for name in ("miou", "accuracy", "infomax", "marginal_entropy", "mean_entropy"):
        assert board.Scalars(f"score/{name}")[-1].value == pytest.approx(last[name], rel=1e-5)
    present = {f"score/iou/{name}" for name, iou in last["iou"].items() if iou is not None}
    assert present
    assert {tag for tag in board.Tags()["scalars"] if tag.startswith("score/iou/")} >= present


def test_the_best_checkpoint_is_infomaxs(run: Path) -> None:
    recorded = json.loads((run / "metrics.json").read_text())
    best = max(recorded["evaluations"], key=lambda evaluation: float(evaluation["infomax"]))
    assert load_checkpoint(run).step == recorded["best_step"] == best["step"]
    assert load_checkpoint(run).metrics["infomax"] == recorded["best_infomax"] == best["infomax"]
