"""benchmarks/adaptation.py: every row of every profile is a command that parses, and the table's arithmetic."""

import argparse
import importlib
import shlex
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.levels import check_adaptation, uses_target
from adaptseg_training.presets import preset_names

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OPTIONS = argparse.Namespace(
    camvid=Path("camvid"), streets=Path("streets"), out=Path("out"), bases=None, vgg_weights="vgg.safetensors"
)
SHORT = [
    "short",
    "feature",
    "averaged_long",
    "short_vgg16",
    "averaged_vgg16",
    "feature_vgg16",
    "long_vgg16",
    "fast_discriminator_vgg16",
    "averaged_long_vgg16",
]
PROFILES = ["full", "full_vgg16", *SHORT]


@pytest.fixture
def adaptation(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("adaptation")
    for name in ("adaptation", "adaptation_panels", "adaptation_plans", "adaptation_plots", "contest"):
        sys.modules.pop(name, None)


@pytest.fixture
def plans(adaptation: Any) -> Any:
    return sys.modules["adaptation_plans"]


def test_every_profile_is_tested(plans: Any) -> None:
    assert set(PROFILES) == set(plans.PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("gap", ["streets_to_camvid", "day_to_dusk"])
def test_every_row_is_a_command_that_adapts_where_it_should(plans: Any, profile: str, gap: str) -> None:
    made = plans.PROFILES[profile]
    backbone = made.backbone
    rows = [row for row in made.all_rows if made.preset(gap, row) in preset_names()]
    assert "control" in rows or "source_only" in rows
    assert {"oracle", "single", "multi", "dacs"} < set(rows) if profile in ("full", "short") else len(rows) >= 3
    for row in rows:
        plan = plans.plan_of(made, gap, row, 3, OPTIONS)
        config = parse_command(plan.arguments)[1]
        check_adaptation(config)
        assert uses_target(config) == (row not in plans.SOURCE_ROWS), row
        assert config.run.seed == 3
        assert config.evaluate is not None
        assert config.target is None or config.target.size == config.source.size
        assert config.evaluate.size == config.source.size, "the network is asked at the size it was trained at"
        if size := (row == "base" and made.base_size) or made.size:
            assert config.source.size == size
        assert config.generator.backbone == backbone
        start = made.warm_start
        if row in made.second:
            first = f"{gap}_{made.second[row][1]}_s3/checkpoints/step_{made.more:08d}/generator.safetensors"
            assert config.generator.weights.endswith(first)
        elif start and row not in ("base", "oracle"):
            base = f"{gap}_base_s3/checkpoints/step_{start:08d}/generator.safetensors"
            assert config.generator.weights.endswith(base)
        else:
            assert config.generator.weights == ("vgg.safetensors" if backbone == "vgg16" else "imagenet")


@pytest.mark.parametrize("profile", SHORT)
def test_all_rows_of_the_short_profiles_are_trained_for_equally_many_steps(plans: Any, profile: str) -> None:
    short = plans.PROFILES[profile]
    plans = [plans.plan_of(short, "streets_to_camvid", row, 0, OPTIONS) for row in short.rows]
    steps = {plan.row: plan.stop_step for plan in plans}
    configs = [parse_command(plan.arguments)[1] for plan in plans]
    assert all(config.run.stop_step == config.optimiser.schedule_steps for config in configs)
    whole = {s + (0 if row == "oracle" else short.warm_start) for row, s in steps.items()}
    assert len(whole) == 1


def run(row: str, seed: int, miou: float, floor: str = "control") -> dict[str, Any]:
    iou = {"road": miou, "car": None}
    return {"gap": "g", "row": row, "seed": seed, "floor": floor, "miou": miou, "miou10": miou, "iou": iou}


def test_the_table_gives_gain_and_share_of_the_gap_closed(adaptation: Any) -> None:
    runs = [run("control", 0, 0.2), run("control", 1, 0.3), run("multi", 0, 0.35), run("oracle", 0, 0.65)]
    lines = adaptation.table(runs, "g").splitlines()
    assert lines[2].startswith("| control | 2 | 25.0 ± 7.1 | 25.0 ± 7.1 | +0.0 | 0 % | 25 | 0 |")
    assert lines[3].startswith("| multi | 1 | 35.0 | 35.0 | +10.0 | 25 % |")
    assert lines[4].startswith("| oracle | 1 | 65.0 | 65.0 | +40.0 | 100 % |")


def test_a_second_stage_has_a_floor_of_its_own_length(adaptation: Any) -> None:
    """Else self-training would be praised for its steps."""
    runs = [run("control", 0, 0.28), run("single_ls", 0, 0.30)]
    runs += [run("control_stage2", 0, 0.32, "control_stage2"), run("dacs_stage2", 0, 0.33, "control_stage2")]
    lines = adaptation.table([*runs, run("oracle", 0, 0.48)], "g").splitlines()
    assert [line.split(" | ")[4:6] for line in lines[2:]] == [
        ["+0.0", "0 %"],
        ["+2.0", "10 %"],
        ["+0.0", ""],
        ["+1.0", ""],
        ["+20.0", "100 %"],
    ]


def test_a_run_of_another_profile_is_not_taken_for_this_ones(adaptation: Any, plans: Any, tmp_path: Path) -> None:
    options = argparse.Namespace(**{**vars(OPTIONS), "out": tmp_path})
    short, long = (
        plans.plan_of(plans.PROFILES[name], "streets_to_camvid", "control", 0, options)
        for name in ("short_vgg16", "long_vgg16")
    )
    score = tmp_path / short.name / "score" / "result.json"
    score.parent.mkdir(parents=True)
    score.write_text("{}")
    command = shlex.join(["adaptseg-train", *short.arguments, "--run.dir", str(tmp_path), "--run.name", short.name])
    (tmp_path / short.name / "config.yaml").write_text(f"# {command}\nlabel_set: camvid\n")
    adaptation._train(short, tmp_path)  # is done
    with pytest.raises(SystemExit, match="another --out"):
        adaptation._train(long, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--streets", "streets", "--rows", "singel"], "--rows singel: profile short has base, control, single, multi"),
        ([], "--streets is missing"),
        (["--gaps", "day_to_dusk", "--rows", "dacs_stage2"], "profile short has"),
    ],
)
def test_what_can_not_be_run_is_said_at_once(
    adaptation: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["adaptation.py", "--camvid", "camvid", "--out", "out", *words])
    with pytest.raises(SystemExit):
        adaptation._options()
    assert said in capsys.readouterr().err


def test_a_row_brings_what_it_starts_from(adaptation: Any, plans: Any) -> None:
    long = plans.PROFILES["long_vgg16"]
    assert adaptation._with_their_starts(long, ["dacs_stage2"]) == {"base", "single_ls", "dacs_stage2"}
    assert adaptation._with_their_starts(long, []) == set(long.all_rows)
    assert adaptation._with_their_starts(plans.PROFILES["full"], ["multi"]) == {"multi"}


def test_a_base_may_be_another_tables(plans: Any) -> None:
    options = argparse.Namespace(**{**vars(OPTIONS), "bases": Path("other")})
    made = plans.PROFILES["averaged_long_vgg16"]
    control, second = (
        plans.plan_of(made, "streets_to_camvid", row, 0, options) for row in ("control", "control_stage2")
    )
    assert control.arguments[-1].startswith("other/streets_to_camvid_base_s0/")
    assert second.arguments[-1].startswith("out/streets_to_camvid_control_s0/")
    assert (control.after, second.after, second.floor) == ("base", "control", "control_stage2")
    assert plans.place("base", options) == Path("other")


@pytest.mark.parametrize(
    ("profile", "of"),
    [
        ("feature", "short"),
        ("averaged_vgg16", "short_vgg16"),
        ("feature_vgg16", "short_vgg16"),
        ("fast_discriminator_vgg16", "long_vgg16"),
        ("averaged_long_vgg16", "long_vgg16"),
    ],
)
def test_tables_that_share_their_base_train_it_alike(plans: Any, profile: str, of: str) -> None:
    """Else --bases, as docs/results.md has it, is refused."""
    ours, theirs = (plans.plan_of(plans.PROFILES[p], "streets_to_camvid", "base", 0, OPTIONS) for p in (profile, of))
    assert ours.arguments == theirs.arguments


def test_panels_show_each_image_its_truth_and_every_row(adaptation: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    images = open_domain(DomainConfig("streets", count=3, size=(64, 96)), "evaluate")
    adaptation.draw_panels({"one": tiny_bundle, "other": tiny_bundle}, images, tmp_path / "panels.jpg", count=2)
    panels = cv2.imread(str(tmp_path / "panels.jpg"))
    assert panels is not None
    height, width = images[0].image.shape[:2]
    assert panels.shape[1] == 4 * round(150 * width / height)
    assert panels.shape[0] > 2 * 150
