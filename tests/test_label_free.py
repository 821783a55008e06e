"""The score that needs no labels: its formula, its ends, and what it selects."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import BEST, FOLDER
from adaptseg_training.cli.evaluate import evaluate_command
from adaptseg_training.cli.train import parse_command
from adaptseg_training.data.sample import Sample
from adaptseg_training.errors import DataError
from adaptseg_training.label_free import label_free_score
from adaptseg_training.run import Run, open_run
from adaptseg_training.state import save

SPEC = PreprocessSpec((32, 32), mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
CPU = torch.device("cpu")


class Main(NamedTuple):
    main: Tensor


class Says(nn.Module):
    """Logits of the images' own numbers: image k is k everywhere, and gets the k-th logits, (C, h, w)."""

    def __init__(self, logits: Sequence[Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Main:
        return Main(self.logits[int(images[0, 0, 0, 0] * 255)][None])


class Numbers:
    """`count` images, the k-th of the value k."""

    label_set: str | None = None

    def __init__(self, count: int, unreadable: frozenset[int] = frozenset()) -> None:
        self.count, self.unreadable = count, unreadable

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index in self.unreadable:
            raise DataError("unreadable")
        return Sample(str(index), np.full((32, 32, 3), index, np.uint8))


def infomax(*logits: Tensor) -> float:
    return label_free_score(Says(logits), SPEC, Numbers(len(logits)), CPU).infomax


def one_hot(class_id: int) -> Tensor:
    return 1000.0 * nn.functional.one_hot(torch.full((4, 4), class_id), 4).permute(2, 0, 1).float()


def test_it_is_the_mutual_information_of_pixel_and_class() -> None:
    logits = [torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    pixels = torch.cat([each.double().softmax(0).reshape(5, -1) for each in logits], 1).T.numpy()
    joint = pixels / len(pixels)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    expected = (joint * np.log(joint / independent)).sum() / np.log(5)
    assert infomax(*logits) == pytest.approx(expected, rel=1e-9)


def test_collapse_and_ignorance_are_worth_nothing_and_certainty_everything() -> None:
    assert infomax(one_hot(1), one_hot(1)) == pytest.approx(0)
    assert infomax(torch.zeros(4, 4, 4)) == pytest.approx(0)
    assert infomax(*map(one_hot, range(4))) == pytest.approx(1)


def test_images_are_spread_over_the_data_set_and_unreadable_ones_left_out() -> None:
    says = Says([one_hot(i % 4) for i in range(9)])
    score = label_free_score(says, SPEC, Numbers(9, frozenset({4})), CPU, count=3)  # 0, 4 and 8
    assert (score.images, score.infomax) == (2, pytest.approx(0))
    with pytest.raises(ConfigError, match="no image can be read"):
        label_free_score(says, SPEC, Numbers(1, frozenset({0})), CPU)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    flags = ["--generator.weights=none", "--run.select=infomax", f"--run.dir={tmp_path}"]
    return open_run(parse_command(["smoke", *flags])[1], "smoke", "adaptseg-train smoke")


def test_the_best_checkpoint_is_the_one_of_the_highest_score(run: Run) -> None:
    adaptation = Adaptation(run.config, 19, CPU)
    steps = ({"infomax": 0.2, "miou": 0.9}, {"infomax": 0.4, "miou": 0.1}, {"infomax": 0.3, "miou": 0.2}, {})
    for step, metrics in enumerate(steps, 1):
        save(run, adaptation, step)
        if metrics:
            run.record_metrics(step, metrics)
            run.record_score(step, metrics)
    assert (run.path / FOLDER / BEST).resolve().name == "step_00000002"
    recorded = json.loads((run.path / "metrics.json").read_text())
    assert (recorded["best_step"], recorded["best_infomax"]) == (2, 0.4)
    assert [e["step"] for e in recorded["evaluations"]] == [1, 2, 3]


def test_it_needs_a_target() -> None:
    with pytest.raises(ConfigError, match=r"--run\.select infomax is taken on the target"):
        parse_command(["packaged_source_only", "--run.select", "infomax"])


def test_unlabelled_images_on_the_command_line(run: Run, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    save(run, Adaptation(run.config, 19, CPU), 1)
    samples = Path(__file__).parents[1] / "adaptseg_serve" / "page" / "samples"
    data = ["--data.dataset", "frames", "--data.root", str(samples), "--data.count", "2", "--size", "64", "96"]
    assert evaluate_command(["--checkpoint", str(run.path), *data]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["target_images"], line["size"]) == (2, [64, 96])
    assert line["infomax"] == pytest.approx(line["marginal_entropy"] - line["mean_entropy"], abs=1e-5)
    with pytest.raises(ConfigError, match="--only, --out: this data set has no labels"):
        evaluate_command(["--checkpoint", str(run.path), *data, "--out", "report", "--only", "road"])
    with pytest.raises(ConfigError, match="no labels to score on, and the label-free"):
        evaluate_command(["--bundle", str(tiny_bundle), *data])
