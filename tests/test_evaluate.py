"""Scores of checkpoints and bundles: the same code, a table for people and one JSON line for programs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.camvid_tree import write_camvid
from numpy.typing import NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CAMVID, CITYSCAPES, IGNORE_ID, LabelMap
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import model_size
from adaptseg_training.cli.common import guarded
from adaptseg_training.cli.evaluate import evaluate_command
from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.sample import ImageSet, Sample
from adaptseg_training.domains import open_domains
from adaptseg_training.dry_run import found
from adaptseg_training.evaluate import evaluate, own_subset, scorer, subset_mious
from adaptseg_training.generator_predictor import GeneratorPredictor
from adaptseg_training.parsing import from_settings, to_settings
from adaptseg_training.run import open_run
from adaptseg_training.state import save

SPEC = PreprocessSpec((32, 64))


class Always:
    """Predicts one train id everywhere, and notes what it was asked."""

    runtime = "test"

    def __init__(self, train_id: int) -> None:
        self.train_id = train_id
        self.asked: list[tuple[tuple[int, ...], tuple[int, int]]] = []

    def predict(self, images: NDArray[np.uint8], sizes: list[tuple[int, int]]) -> list[LabelMap]:
        self.asked.append((images.shape, sizes[0]))
        return [np.full(size, self.train_id, np.uint8) for size in sizes]


class TwoClasses:
    """One CamVid image of 40 x 50: road above, sky below, the last column ignored."""

    label_set: str | None = "camvid"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        label_map = np.full((40, 50), CAMVID.train_id("road"), np.uint8)
        label_map[30:] = CAMVID.train_id("sky")
        label_map[:, -1] = IGNORE_ID
        return Sample("made", np.zeros((40, 50, 3), np.uint8), label_map)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint, untrained."""
    flags = ["--generator.weights=none", f"--run.dir={tmp_path_factory.mktemp('runs')}"]
    run = open_run(parse_command(["smoke", *flags])[1], "smoke", "adaptseg-train smoke")
    torch.manual_seed(0)
    save(run, Adaptation(run.config, len(CITYSCAPES), torch.device("cpu")), 1)
    return run.path


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    label_map = np.random.default_rng(2).integers(0, 12, (60, 80), dtype=np.uint8)
    return write_camvid(tmp_path_factory.mktemp("camvid"), {"0016E5_1": label_map})


def score(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert evaluate_command(argv) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 1
    assert "pixel accuracy" in said.err
    line: dict[str, object] = json.loads(lines[0])
    return line


def test_scores_are_in_the_data_sets_classes_at_its_size() -> None:
    predictor = Always(CITYSCAPES.train_id("road"))
    scores = evaluate(scorer(predictor, SPEC, "cityscapes", TwoClasses()), TwoClasses())
    assert predictor.asked == [((1, 32, 64, 3), (40, 50))]
    summary = scores.summary()
    assert summary["accuracy"] == 0.75
    assert summary["iou"]["road"] == 0.75
    assert summary["iou"]["sky"] == 0.0
    assert summary["iou"]["car"] is None
    assert summary["miou"] == 0.375
    assert summary["miou_over"] == {"camvid-10": 0.375}
    assert summary["mean_accuracy"] == 0.5
    assert summary["frequency_weighted_iou"] == 0.5625


def test_pixels_can_be_counted_at_the_models_size() -> None:
    predictor = Always(CITYSCAPES.train_id("road"))
    scores = evaluate(scorer(predictor, SPEC, "cityscapes", TwoClasses(), at="model"), TwoClasses())
    assert predictor.asked == [((1, 32, 64, 3), (32, 64))]
    # 40 x 50 shrunk to 32 x 64 by nearest: 24 of 32 rows are road, the ignored last column is the last 1 of 64.
    assert scores.matrix.counts.sum() == 32 * 63
    assert scores.summary()["accuracy"] == 0.75


def test_a_class_can_be_left_out_of_the_mean() -> None:
    scores = evaluate(scorer(Always(CAMVID.train_id("road")), SPEC, "camvid", TwoClasses()), TwoClasses())
    no_sky = own_subset(CAMVID, (), ("sky",))
    assert no_sky == CAMVID.names[1:]
    assert own_subset(CAMVID, ("sky", "road"), ("sky",)) == ("road",)
    assert own_subset(CAMVID, ("sky", "sky", "road"), ()) == ("sky", "road")
    assert subset_mious(scores, {"all": CAMVID.names, "no sky": no_sky}) == {"all": 0.375, "no sky": 0.75}
    with pytest.raises(ConfigError, match=r"no class 'cloud'; it has sky, building"):
        own_subset(CAMVID, (), ("cloud",))
    with pytest.raises(ConfigError, match="leaves no class"):
        own_subset(CAMVID, ("sky",), ("sky",))


def test_classes_that_can_not_be_translated_are_refused() -> None:
    streets = open_domain(DomainConfig("streets", size=(64, 96), count=1), "data")
    with pytest.raises(ConfigError, match="no translation from 'camvid'"):
        scorer(Always(0), SPEC, "camvid", streets)


def test_a_checkpoint_on_the_command_line(run: Path, camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = score(capsys, "--checkpoint", str(run), "--data.root", str(camvid), "--exclude", "bicyclist", "fence")
    assert line["images"] == 1
    assert line["label_set"] == "camvid"
    assert line["excluded"] == ["fence", "bicyclist"]
    assert isinstance(line["miou_subset"], float)


def test_evaluates_size_is_the_checkpoints_own(
    tmp_path: Path, camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--generator.weights=none", f"--run.dir={tmp_path}", "--evaluate.size", "64", "96"]
    run = open_run(parse_command(["smoke", *flags])[1], "smoke", "adaptseg-train smoke")
    adaptation = Adaptation(run.config, len(CITYSCAPES), torch.device("cpu"))
    checkpoint = save(run, adaptation, 1)
    assert score(capsys, "--checkpoint", str(checkpoint), "--data.root", str(camvid))["size"] == [64, 96]
    again = score(capsys, "--checkpoint", str(checkpoint), "--data.root", str(camvid), "--size", "32", "64")
    assert again["size"] == [32, 64]


def test_a_size_that_was_not_given_is_the_training_images(camvid: Path) -> None:
    own = {"smoke": (96, 128), "gta5_to_cityscapes_source_only_paper": (512, 1024), "packaged": (240, 320)}
    assert {name: model_size(parse_command([name])[1]) for name in own} == own
    flags = ["packaged", "--source.size", "64", "96", "--evaluate.dataset", "camvid", "--evaluate.root", str(camvid)]
    flags += ["--evaluate.split", "val"]
    assert model_size(parse_command(flags)[1]) == (64, 96)
    config = parse_command([*flags, "--target.size", "96", "64"])[1]
    assert model_size(from_settings(to_settings(config), Path("config.yaml"))) == model_size(config) == (96, 64)
    assert "evaluate: camvid val: 1 images, the first 60x80 -> 96x64" in "\n".join(found(config, open_domains(config)))


def test_a_bundle_on_the_command_line(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data.dataset", "streets", "--data.split", "day", "--data.count", "2", "--data.size", "64", "96"]
    line = score(capsys, "--bundle", str(tiny_bundle), *data)
    assert line["images"] == 2
    assert "miou_subset" not in line


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        ([], "either --checkpoint or --bundle"),
        (["--checkpoint", "a", "--bundle", "b"], "either --checkpoint or --bundle"),
        (["--checkpoint", "a"], "--data.root is not set"),
        (["--checkpoint", "a", "--size", "8", "99"], "--size is"),
        (["--checkpoint", "a", "--worst", "-1"], "--worst is -1"),
        (["--checkpoint", "a", "--worst", "500"], "--worst is 500; it must be from 0 to 250"),
        (["--checkpoint", "a", "--data.root", "b", "--data.size", "64", "96"], r"--data\.size: .* is --size"),
        (["--checkpoint", "a", "--data.root", "b", "--data.first", "-1"], r"--data\.first is -1"),
        (["--checkpoint", "a", "--data.root", "b", "--data.count", "-1"], r"--data\.count is -1"),
        (["--checkpoint", "a", "--data.dataset", "streets", "--data.count", "-2"], r"--data\.count is -2"),
        (["--checkpoint", "a", "--data.root", "b", "--data.augment"], r"--data\.augment: only training"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(argv: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        evaluate_command(argv)


def test_a_folder_that_can_not_be_made_is_refused_before_the_images_are_scored(
    tiny_bundle: Path, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaptseg_training.cli.evaluate._score", lambda *_: pytest.fail("scored"))
    (tmp_path / "file").write_text("")
    argv = ["--bundle", str(tiny_bundle), "--data.root", str(camvid), "--out", str(tmp_path / "file" / "out")]
    assert guarded("adaptseg-evaluate", evaluate_command, argv) == 1
    assert "file/out can't be written: Not a directory" in capsys.readouterr().err


def test_the_scores_are_printed_though_the_report_fails(
    tiny_bundle: Path, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "confusion.png").mkdir()
    argv = ["--bundle", str(tiny_bundle), "--data.root", str(camvid), "--out", str(tmp_path)]
    assert guarded("adaptseg-evaluate", evaluate_command, argv) == 1
    assert json.loads(capsys.readouterr().out)["images"] == 1


def test_unlabelled_images_can_not_be_scored(camvid: Path) -> None:
    images: ImageSet = open_domain(DomainConfig("frames", (camvid / "val/images",)), "data")
    with pytest.raises(ConfigError, match="no labels to score on"):
        scorer(Always(0), SPEC, "camvid", images)


def test_looking_at_a_generator_leaves_it_in_its_mode() -> None:
    config = parse_command(["smoke", "--generator.weights=none"])[1]
    generator = Adaptation(config, len(CITYSCAPES), torch.device("cpu")).generator
    before = {name: module.training for name, module in generator.named_modules()}
    label_map = GeneratorPredictor(generator, SPEC, torch.device("cpu")).predict(
        np.zeros((1, 32, 64, 3), np.uint8), [(33, 70)]
    )[0]
    assert (label_map.shape, label_map.dtype) == ((33, 70), np.uint8)
    assert before == {name: module.training for name, module in generator.named_modules()}
    assert True in before.values()
