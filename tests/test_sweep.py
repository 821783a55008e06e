"""A sweep is one run for each combination, goes on where it stopped, and ends with a table."""

from pathlib import Path

import pytest
from helpers.runs import train, train_in_ranks, write_tiny

from adaptseg_serve.errors import ConfigError
from adaptseg_training.checkpoint import read_record
from adaptseg_training.cli.train import parse_command
from adaptseg_training.sweep import plan_sweep


def test_table_3_is_eight_runs() -> None:
    argv = ["gta5_to_cityscapes_single_paper", "--run.dir", "elsewhere"]
    sweeps = ["main.space=feature,output", "main.adv-weight=0.0005,0.001,0.002,0.004"]
    members = plan_sweep(argv, sweeps, parse_command)
    assert len({member.path for member in members}) == 8
    for member in members:
        config = parse_command(member.argv)[1]
        assert config.main.space == member.values["main.space"]
        assert config.main.adv_weight == float(member.values["main.adv-weight"])
        assert config.run.dir / config.run.name == member.path


@pytest.mark.parametrize("sweep", ["", "gan", "gan=", "=vanilla"])
def test_what_is_no_sweep_is_a_sentence(sweep: str) -> None:
    with pytest.raises(ConfigError, match="expected FLAG=VALUE,VALUE"):
        plan_sweep(["smoke"], [sweep], parse_command)


def test_a_sweep_resumes_none_by_hand() -> None:
    with pytest.raises(ConfigError, match=r"leave --run\.resume out"):
        plan_sweep(["smoke", "--run.resume", "runs/smoke"], ["gan=ls"], parse_command)


def test_a_broken_sweep_goes_on_and_ends_with_the_table(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "sweep")
    argv = ("tiny.yaml", "--run.preview-every", "0", "--sweep", "main.adv-weight=0.001,0.002")
    assert train(folder, *argv, "--dry-run")[0] == 0
    assert not (folder / "runs").exists()
    done = folder / "runs" / "tiny_main.adv-weight_0.001"
    assert train(folder, "tiny.yaml", "--run.name", done.name, "--run.stop-step", "1")[0] == 0
    code, said = train(folder, *argv, "--run.stop-step", "2")
    assert code == 0, said
    for value in ("0.001", "0.002"):
        run = folder / "runs" / f"tiny_main.adv-weight_{value}"
        config = read_record(run / "checkpoints" / "step_00000002")["config"]
        assert config["main"]["adv_weight"] == float(value)
    assert read_record(done / "checkpoints" / "step_00000002")["resumed"]
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")}
    assert train(folder, *argv, "--run.stop-step", "2")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")} == before, "done is only read"
    assert "mIoU %" in said
    assert said.count("runs/tiny_main.adv-weight_") >= 2


@pytest.mark.parametrize("flags", [("--sweep", "main.adv-weight=0.001,0.002"), ("--dry-run",)])
def test_what_one_process_does_is_not_done_by_several(tmp_path: Path, flags: tuple[str, ...]) -> None:
    folder = write_tiny(tmp_path / "together")
    for code, said in train_in_ranks(folder, "tiny.yaml", *flags):
        assert code == 2, said
        assert f"{flags[0]} is of one process" in said
    assert not (folder / "runs").exists()
