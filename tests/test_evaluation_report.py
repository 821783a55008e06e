"""What adaptseg-evaluate leaves behind: result.json, per_class.csv, pictures; and the gap to an oracle."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.camvid_tree import write_camvid
from numpy.typing import NDArray

from adaptseg_serve.errors import AdaptSegError, ConfigError
from adaptseg_serve.labels import CAMVID, IGNORE_ID, LabelMap
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.cli import evaluate as command
from adaptseg_training.cli.evaluate import evaluate_command
from adaptseg_training.config import DomainConfig
from adaptseg_training.confusion_picture import draw_confusion
from adaptseg_training.data.domains import open_domain, to_score
from adaptseg_training.data.rendered import SCORED_COUNT
from adaptseg_training.errors import CheckpointError
from adaptseg_training.evaluate import evaluate, scorer
from adaptseg_training.metrics import ConfusionMatrix
from adaptseg_training.worst_images import draw_worst, error_map

SPEC = PreprocessSpec((60, 80))


class Sky:
    """Says sky everywhere."""

    runtime = "test"

    def predict(self, images: NDArray[np.uint8], sizes: list[tuple[int, int]]) -> list[LabelMap]:
        return [np.zeros(size, np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of 60 x 80: all sky, half sky, nothing labelled."""
    half = np.zeros((60, 80), np.uint8)
    half[30:] = CAMVID.train_id("road")
    maps = {"all": np.zeros((60, 80), np.uint8), "half": half, "none": np.full((60, 80), 11, np.uint8)}
    return write_camvid(tmp_path_factory.mktemp("camvid"), maps)


def result(capsys: pytest.CaptureFixture[str], tiny_bundle: Path, camvid: Path, *argv: str) -> dict[str, object]:
    assert evaluate_command(["--bundle", str(tiny_bundle), "--data.root", str(camvid), *argv]) == 0
    line: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_the_folder_says_what_the_last_line_says(
    tiny_bundle: Path, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = result(capsys, tiny_bundle, camvid, "--out", str(tmp_path / "out"), "--size", "64", "96", "--at", "model")
    assert json.loads((tmp_path / "out/result.json").read_text()) == line
    assert (line["size"], line["at"], line["data"]) == ([64, 96], "model", "camvid/val")
    rows = list(csv.DictReader((tmp_path / "out/per_class.csv").read_text().splitlines()))
    iou = line["iou"]
    assert isinstance(iou, dict)
    assert {row["class"]: row["iou"] for row in rows} == {k: "" if v is None else str(v) for k, v in iou.items()}
    assert sum(int(row["pixels"]) for row in rows) == 2 * 64 * 96
    for name in ("confusion.png", "worst.jpg"):
        assert cv2.imread(str(tmp_path / "out" / name)) is not None


def test_the_gap_to_an_oracle_is_the_same_from_its_result_and_from_itself(
    tiny_bundle: Path, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = result(capsys, tiny_bundle, camvid, "--out", str(tmp_path / "ours"))
    oracle = json.loads((tmp_path / "ours/result.json").read_text())
    oracle |= {"model": "oracle", "miou": float(str(ours["miou"])) + 0.1, "miou_over": {"camvid-10": 0.9}}
    oracle["iou"] = {name: iou + 0.25 for name, iou in oracle["iou"].items()}
    (tmp_path / "oracle.json").write_text(json.dumps(oracle))
    there = result(capsys, tiny_bundle, camvid, "--oracle", str(tmp_path / "oracle.json"), "--out", str(tmp_path / "b"))
    gap = there["oracle"]
    assert isinstance(gap, dict)
    assert (gap["model"], gap["gap"]) == ("oracle", 0.1)
    assert gap["gap_over"]["camvid-10"] == pytest.approx(0.9 - there["miou_over"]["camvid-10"])  # type: ignore[index]  # JSON
    assert set(gap["iou_gap"].values()) == {0.25}
    assert "oracle_iou,gap" in (tmp_path / "b/per_class.csv").read_text()
    itself = result(capsys, tiny_bundle, camvid, "--oracle", str(tiny_bundle))["oracle"]
    assert isinstance(itself, dict)
    assert (itself["gap"], itself["miou"]) == (0.0, ours["miou"])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "can't be read"),
        ('{"miou": 1}', r"is not the result\.json"),
        (
            '{"model": "", "miou": 1, "miou_over": {}, "iou": {}, "label_set": "camvid", "images": 4, "at": "label", '
            '"data": "camvid/val"}',
            "was scored with images 4, this with 3",
        ),
    ],
)
def test_an_oracle_that_can_not_be_compared(
    content: str, match: str, tiny_bundle: Path, camvid: Path, tmp_path: Path
) -> None:
    (tmp_path / "oracle.json").write_text(content)
    argv = ["--bundle", str(tiny_bundle), "--data.root", str(camvid), "--oracle", str(tmp_path / "oracle.json")]
    with pytest.raises(ConfigError, match=match):
        evaluate_command(argv)


@pytest.mark.parametrize(
    ("oracle", "at", "error", "match"),
    [
        ("nowhere", "label", CheckpointError, "neither a checkpoint"),
        ("oracle.json", "model", ConfigError, "was scored with at label, this with model"),
    ],
)
def test_a_wrong_oracle_is_refused_before_the_images_are_scored(
    oracle: str,
    at: str,
    error: type[Exception],
    match: str,
    tiny_bundle: Path,
    camvid: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result(capsys, tiny_bundle, camvid, "--out", str(tmp_path))
    (tmp_path / "result.json").rename(tmp_path / "oracle.json")
    monkeypatch.setattr(command, "_score", None)
    argv = ["--bundle", str(tiny_bundle), "--data.root", str(camvid), "--oracle", str(tmp_path / oracle), "--at", at]
    with pytest.raises(error, match=match):
        evaluate_command(argv)


def test_the_worst_image_comes_first_and_an_unlabelled_one_never(camvid: Path) -> None:
    images = open_domain(DomainConfig("camvid", (camvid,), "val"), "data")
    ask = scorer(Sky(), SPEC, "camvid", images)
    scores = evaluate(ask, images)
    assert scores.image_mious[:2] == (1.0, 0.25)
    assert scores.worst(9) == [1, 0]
    sheet = draw_worst(ask, images, scores, 1)
    assert sheet is not None
    caption, height, width = 20, 200, round(80 * 200 / 60)
    assert sheet.shape[1] == 4 * width
    row = sheet[caption : caption + height]
    sky, road = (CAMVID.classes[CAMVID.train_id(name)].color for name in ("sky", "road"))
    assert [tuple(row[y, width + 5]) for y in (10, 190)] == [sky, road]
    assert [tuple(row[y, 2 * width + 5]) for y in (10, 190)] == [sky, sky]
    assert tuple(row[190, 3 * width + 5]) == (230, 25, 25)
    assert draw_worst(ask, images, scores, 0) is None


def test_errors_are_red_and_ignored_pixels_black() -> None:
    truth = np.array([[0, 1, IGNORE_ID]], np.uint8)
    picture = error_map(np.full((1, 3, 3), 100, np.uint8), truth, np.zeros((1, 3), np.uint8))
    assert picture.tolist() == [[[178, 178, 178], [230, 25, 25], [0, 0, 0]]]


def test_cells_of_the_confusion_picture_are_as_dark_as_their_share() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([0, 0, 0, 0, 1], np.uint8), np.array([0, 1, 1, 1, 1], np.uint8))
    picture = draw_confusion(("road", "sky", "car"), matrix)
    top, left, cell = 28 + 130, 130, 40

    def corner(row: int, column: int) -> int:
        return int(picture[top + row * cell + 3, left + column * cell + 3].sum())

    assert corner(1, 1) < corner(0, 1) < corner(0, 0) < corner(0, 2) == corner(1, 0) == 3 * 255
    assert corner(2, 0) == corner(2, 2) == 3 * 235
    matrix.add(np.array([0], np.uint8), np.array([255], np.uint8))
    assert draw_confusion(("road", "sky", "car"), matrix)[top + 3, left + 3 * cell + 3].sum() < 3 * 255


def test_what_is_scored_where_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_score(DomainConfig("streets")).count == SCORED_COUNT
    with pytest.raises(AdaptSegError):  # no bundle; the count is told before
        evaluate_command(["--bundle", str(tmp_path), "--data.dataset", "streets"])
    assert f"{SCORED_COUNT} rendered streets; --data.count" in capsys.readouterr().err
    assert to_score(DomainConfig("streets", count=3)).count == 3
    assert to_score(DomainConfig("camvid")) == DomainConfig("camvid", split="val")
    assert to_score(DomainConfig("camvid", split="dusk")).split == "dusk"
    assert to_score(DomainConfig("own")) == DomainConfig("own")
