"""Every preset that ships parses, and a wrong word is answered with the right one."""

import re
import shlex
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from adaptseg_serve.errors import ConfigError
from adaptseg_training.cli.data import Look
from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import TrainConfig
from adaptseg_training.data.domains import check_domain
from adaptseg_training.data.rendered import DEFAULT_COUNT
from adaptseg_training.data.sampler import sample_index
from adaptseg_training.data.streets import LOOKS
from adaptseg_training.parsing import from_settings, to_settings
from adaptseg_training.presets import preset_header, preset_names, preset_path, setting_names
from adaptseg_training.ranges import OF_A_DOMAIN, RANGES


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_parses_and_survives_being_saved(name: str) -> None:
    preset, config = parse_command([name])
    assert preset == name
    assert from_settings(to_settings(config), Path("config.yaml")) == config


@pytest.mark.parametrize("name", preset_names())
def test_the_command_in_a_presets_header_parses(name: str) -> None:
    header = [line.lstrip("# ") for line in preset_path(name).read_text().splitlines() if line.startswith("#")]
    text = " ".join(header)
    assert "Reproduces:" in text
    assert "Cost:" in text
    words = shlex.split(text.split("Command:")[1])
    assert words[0] == "adaptseg-train"
    preset, config = parse_command(words[1:])
    assert preset == name
    for domain in ("source", "target", "evaluate"):
        if (described := getattr(config, domain)) is not None:
            check_domain(described, domain)


OF_A_GAP = tuple(name for name in preset_names() if name.startswith(("streets_to_camvid_", "day_to_dusk_")))


@pytest.mark.parametrize("name", OF_A_GAP)
def test_the_rows_of_a_gap_differ_in_their_method_alone(name: str) -> None:
    config = parse_command([name])[1]
    domains = [domain for domain in (config.source, config.target, config.evaluate) if domain is not None]
    assert {domain.size for domain in domains} == {(264, 352)}
    assert (config.run.stop_step, config.optimiser.schedule_steps) == (3000, 3500)
    teacher = config.self_training.weight > 0
    assert config.optimiser.average == (0 if teacher else 0.99)
    header = preset_path(name).read_text().partition("# Command:")[0]
    assert ("an average of its weights (0.99)" in header) != teacher
    images = "4 images a domain" if config.target else "4 images"
    assert f"Cost: 3000 steps of {images} at 264x352; not run at this length." in header


def test_a_header_points_to_results_where_there_are_some() -> None:
    """Whoever adds a row to docs/results.md takes its preset from here, and changes its header."""
    not_run = {name for name in OF_A_GAP if preset_header(name).reproduces.endswith("not run yet, so no figure.")}
    assert not_run == {
        *(f"day_to_dusk_{row}_lite0" for row in ("feature", "entropy", "fda", "dacs")),
        *(f"day_to_dusk_{row}_vgg16" for row in ("feature", "fda", "dacs")),
        "streets_to_camvid_fda_vgg16",
        "streets_to_camvid_multi_ls_balanced_lite0",
    }


def test_parts_of_the_packaged_model_say_how_many_streets_they_saw_again() -> None:
    """Each draws from a range of its own; ranges of 100 000 that begin 20 000 apart overlap."""
    parts = ("source_only", "", "more", "averaged", "detail", "settled")
    seen: set[int] = set()
    for name in (f"packaged_{part}".rstrip("_") for part in parts):
        config = parse_command([name])[1]
        count = config.run.stop_step * config.run.batch_size
        own = {config.source.first + sample_index(config.run.seed, i, DEFAULT_COUNT) for i in range(count)}
        said = re.findall(r"Of its (\d+) streets (\d+) were seen before", preset_path(name).read_text())
        assert said == ([(str(count), str(len(own & seen)))] if own & seen else [])
        seen |= own


def test_flags_win_over_the_preset_in_either_spelling() -> None:
    assert parse_command(["smoke", "--main.adv-weight", "0.5"])[1].main.adv_weight == 0.5
    assert parse_command(["smoke", "--main.adv_weight=0.25"])[1].main.adv_weight == 0.25


def test_another_data_set_than_the_presets_is_taken_whole() -> None:
    """`demo` draws streets by day and under clouds: own data have no such parts."""
    flags = ["--source.dataset", "own", "--source.root", "roads.yaml"]
    source = parse_command(["demo", *flags])[1].source
    assert (source.dataset, source.split, source.size, source.augment) == ("own", "", (240, 320), True)
    evaluate = parse_command(["smoke", "--evaluate.dataset=camvid", "--evaluate.root", "camvid"])[1].evaluate
    assert evaluate is not None
    assert (evaluate.split, evaluate.first, evaluate.count) == ("", 0, 0)
    assert parse_command(["demo", *flags, "--source.count", "9"])[1].source.count == 9
    assert parse_command(["demo", "--source.dataset", "streets"])[1].source.split == "day,overcast"
    assert parse_command(["demo", "--target.dataset", "frames", "--target.root", "a"])[1].target.every == 2


def test_a_value_that_looks_like_a_flag_switches_nothing_on() -> None:
    flags = ["--generator.weights", "target.pth", "--run.name", "evaluate.it"]
    config = parse_command(["packaged_source_only", *flags])[1]
    assert config.target is None
    assert config.evaluate is None


def test_an_unknown_preset_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Perhaps you meant smoke"):
        parse_command(["smok"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("main: {adv_wieght: 0.1}", r"mine\.yaml: there is no setting main\.adv_wieght.*main\.adv_weight"),
        ("adv_weight: 0.1", r"mine\.yaml: there is no setting adv_weight.*aux\.adv_weight or main\.adv_weight"),
        ("target: {szie: [64, 64]}", r"target\.szie.*target\.size"),
        ("bananas: 1", r"no setting bananas.*--help-all"),
        ("main: 0.1", r"main must hold settings by name, not 0\.1"),
        ("gan: {ls: true}", r"gan takes one value"),
    ],
)
def test_an_unknown_key_names_the_file_and_the_right_key(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=match):
        parse_command([str(tmp_path / "mine.yaml")])


def test_an_unknown_flag_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command(["smoke", "--main.adv-wieght", "0.1"])
    assert caught.value.code == 2
    assert "main.adv-weight" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "match"),
    [("- a\n- b\n", "must hold settings"), ("main: {", "not a YAML file"), ("", "must hold settings")],
)
def test_a_file_that_is_no_preset_is_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=match):
        parse_command([str(tmp_path / "mine.yaml")])


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (["--run.stop-step", "0"], "run.stop-step"),
        (["--label-set", "mars"], "label-set"),
        (["--source.size", "8", "8"], "source.size"),
        (["--run.stop-step", "99"], "schedule-steps"),
        (["--run.seed", "-1"], "run.seed"),
        (["--run.workers", "-1"], "run.workers"),
        (["--optimiser.nesterov", "--optimiser.momentum", "0"], "optimiser.nesterov"),
    ],
)
def test_values_no_run_can_have_name_their_flag(flags: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_command(["smoke", *flags])


@pytest.mark.parametrize(
    ("flag", "values", "allowed"),
    [
        ("fourier", ("-0.1", "0.51", "nan"), "from 0 to 0.5"),
        ("self-training.weight", ("-1",), "0 or more"),
        ("self-training.teacher-momentum", ("-0.1", "1.1"), "from 0 to 1"),
        ("self-training.confident", ("-0.1", "1.1"), "from 0 to 1"),
        ("optimiser.momentum", ("-0.1", "1"), "0 or more and below 1"),
        ("optimiser.betas", ("0.9 1", "-0.1 0.9"), "0 or more and below 1"),
        ("optimiser.average", ("-0.1", "1"), "0 or more and below 1"),
        ("optimiser.lr", ("-1", "inf"), "0 or more"),
        ("optimiser.weight-decay", ("-1",), "0 or more"),
        ("optimiser.power", ("-1",), "0 or more"),
        ("main.seg-weight", ("-1",), "0 or more"),
        ("aux.adv-weight", ("-1",), "0 or more"),
        ("run.evaluate-every", ("-1",), "0 or more"),
        ("run.preview-every", ("-1",), "0 or more"),
        ("run.checkpoint-every", ("0",), "1 or more"),
        ("target.every", ("0",), "1 or more"),
        ("evaluate.first", ("-1",), "0 or more"),
        ("source.size", ("96 31",), "32 or more"),
    ],
)
def test_a_number_out_of_its_range_is_told_with_it(flag: str, values: tuple[str, ...], allowed: str) -> None:
    for value in values:
        with pytest.raises(ConfigError) as caught:
            parse_command(["smoke", f"--{flag}", *value.split()])
        said = str(caught.value)
        assert said.startswith(f"--{flag} is {value}")
        assert said.endswith(f" must be {allowed}.")


def test_every_number_has_a_range() -> None:
    """A new setting without one would take any value."""
    numbers = {int, float, tuple[float, float], tuple[int, int], tuple[int, int, int, int]}
    hints = {name: _hint(name) for name in setting_names()}
    found = {name.replace("_", "-") for name, hint in hints.items() if hint in numbers}
    named = {f"{domain}.{setting}" for domain in ("source", "target", "evaluate") for setting in OF_A_DOMAIN}
    assert found == named | RANGES.keys()


def _hint(name: str) -> Any:
    kind: Any = TrainConfig
    for part in name.split("."):
        hint = get_type_hints(kind)[part]
        kind = next((t for t in (hint, *get_args(hint)) if is_dataclass(t)), hint)
    return kind


def test_the_looks_on_the_command_line_are_the_renderers() -> None:
    assert get_args(Look) == LOOKS
