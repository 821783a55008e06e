"""What a checkpoint brings back, what a flag given on resume changes, and what happens when a save can't be made."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.runs import assert_same, files_of_at_most
from safetensors.torch import load_file

from adaptseg_serve.errors import ConfigError
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import GENERATOR, RECORD, TRAINING, find_checkpoint, load_checkpoint
from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import TrainConfig
from adaptseg_training.errors import CheckpointError, TrainingError
from adaptseg_training.run import Run, open_run
from adaptseg_training.state import check_kept, diverged, resume, save

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    _, config = parse_command(["smoke", "--generator.weights=none", f"--run.dir={tmp_path}"])
    opened = open_run(config, "smoke", "adaptseg-train smoke")
    opened.write_config()
    return opened


@pytest.fixture(scope="module")
def adaptation() -> Adaptation:
    return adapt(parse_command(["smoke", "--generator.weights=none"])[1])


def adapt(config: TrainConfig) -> Adaptation:
    return Adaptation(config, 19, CPU)


def resumed(run: Run, *flags: str) -> tuple[Run, TrainConfig]:
    _, config = parse_command([f"--run.resume={run.path}", *flags])
    return open_run(config, "", "adaptseg-train --run.resume again"), config


def test_learning_rates_given_on_resume_count(run: Run, adaptation: Adaptation) -> None:
    save(run, adaptation, 7)
    again, config = resumed(
        run, "--optimiser.lr=0.0001", "--optimiser.head-lr-factor=2", "--optimiser.discriminator-lr=0.5"
    )
    slower = adapt(config)
    assert resume(again, slower) == 7
    assert [g["initial_lr"] for g in slower.generator_optimiser.param_groups] == pytest.approx([1e-4, 2e-4])
    assert slower.discriminator_optimisers["main"].param_groups[0]["initial_lr"] == 0.5


def test_a_resumed_run_remembers_how_it_was_started(run: Run, adaptation: Adaptation) -> None:
    save(run, adaptation, 7)
    again, _ = resumed(run)
    checkpoint = load_checkpoint(save(again, adaptation, 8))
    assert (checkpoint.preset, checkpoint.command) == ("smoke", "adaptseg-train smoke")
    assert json.loads((checkpoint.path / RECORD).read_text())["resumed"] == ["adaptseg-train --run.resume again"]


def test_weights_that_are_no_numbers_are_not_a_checkpoint(run: Run) -> None:
    broken = adapt(run.config)
    save(run, broken, 1)
    with torch.no_grad():
        next(broken.generator.parameters())[0] = float("nan")
    with pytest.raises(TrainingError, match=r"1 tensors of the generator hold NaN.*--run\.resume.*--optimiser\.lr"):
        save(run, broken, 2)
    assert find_checkpoint(run.path).name == "step_00000001"


def test_a_broken_discriminator_is_not_a_checkpoint_either(run: Run) -> None:
    """The next step would diverge, and send whoever reads its error back to this one."""
    broken = adapt(run.config)
    with torch.no_grad():
        next(broken.discriminators["main"].parameters())[0] = float("nan")
    with pytest.raises(TrainingError, match="1 tensors of the discriminators hold NaN"):
        save(run, broken, 2)


def test_what_diverged_last_is_what_is_kept(run: Run, adaptation: Adaptation) -> None:
    diverged(run, adaptation, 2, "loss is nan")
    other = adapt(run.config)
    name, value = next(iter(other.deployed.state_dict().items()))
    with torch.no_grad():
        value.fill_(7)
    diverged(run, other, 2, "loss is nan")
    kept = load_file(run.path / "checkpoints" / "diverged_00000002" / GENERATOR)
    assert bool((kept[name] == 7).all())


def test_a_score_is_written_into_its_checkpoint(run: Run, adaptation: Adaptation) -> None:
    folder = save(run, adaptation, 1)
    assert run.score_of(1) == {}
    run.record_score(1, {"miou": 0.25})
    assert run.score_of(1) == load_checkpoint(folder).metrics == {"miou": 0.25}
    assert (run.path / "checkpoints" / "best").resolve() == folder.resolve()


def test_a_full_disk_names_the_last_whole_checkpoint(run: Run, adaptation: Adaptation) -> None:
    save(run, adaptation, 1)
    with files_of_at_most(1 << 20), pytest.raises(TrainingError, match=r"can't be saved.*step_00000001"):
        save(run, adaptation, 2)
    assert find_checkpoint(run.path).name == "step_00000001"
    assert save(run, adaptation, 2).name == "step_00000002"


def test_the_best_checkpoint_stays(run: Run, adaptation: Adaptation) -> None:
    run = replace(run, config=replace(run.config, run=replace(run.config.run, keep=1)))
    for step, miou in enumerate([0.1, 0.3, 0.2, 0.25], start=1):
        save(run, adaptation, step)
        run.record_score(step, {"miou": miou})
    assert sorted(p.name for p in (run.path / "checkpoints").glob("step_*")) == ["step_00000002", "step_00000004"]
    assert load_checkpoint(run.path).step == 2
    assert load_checkpoint(run.path / "checkpoints" / "step_00000004" / GENERATOR).step == 4


def test_recovery_marks_the_best_and_sweeps(run: Run, adaptation: Adaptation) -> None:
    for step, miou in enumerate([0.1, 0.3, 0.2], start=1):
        save(run, adaptation, step)
        run.record_score(step, {"miou": miou})
    folder = run.path / "checkpoints"
    (folder / "best").unlink()
    (folder / ".best.saving").symlink_to("step_00000001")
    (folder / ".step_00000009.saving").mkdir()
    run.recover()
    assert load_checkpoint(folder / "best").step == 2
    assert sorted(p.name for p in folder.iterdir()) == ["best", *(f"step_0000000{i}" for i in (1, 2, 3))]


def test_a_run_that_never_saved_starts_with_clean_records(run: Run) -> None:
    (run.path / "tensorboard").mkdir()
    (run.path / "scalars.csv").write_text("step,lr\r\n1,0.1\r\n")
    run.recover()
    assert {p.name for p in run.path.iterdir()} == {"config.yaml", "checkpoints", "previews"}


def test_the_command_that_resumes_survives_a_shell(run: Run) -> None:
    odd = replace(run, path=run.path / "it's a run; rm")
    assert shlex.split(odd.resume_command) == ["adaptseg-train", "--run.resume", str(odd.path)]


def test_flags_that_change_the_network_are_refused_on_resume(run: Run, adaptation: Adaptation) -> None:
    save(run, adaptation, 1)
    again, config = resumed(run, "--aux.seg-weight=0", "--aux.adv-weight=0")
    with pytest.raises(CheckpointError, match="On resume no flag may change the network"):
        resume(again, adapt(config))


@pytest.mark.parametrize(
    ("before", "flag", "value", "was"),
    [
        ("--label-set=cityscapes", "label-set", "synthia", "cityscapes"),
        ("--generator.normalisation=auto", "generator.normalisation", "caffe", "auto"),
        ("--generator.bn=frozen", "generator.weights", "imagenet", "none"),
        ("--optimiser.average=0.99", "optimiser.average", "0.0", "0.99"),
        ("--self-training.weight=1", "self-training.weight", "0.0", "1.0"),
        ("--optimiser.algorithm=adamw", "optimiser.algorithm", "sgd", "adamw"),
        ("--optimiser.algorithm=sgd", "optimiser.algorithm", "adamw", "sgd"),
        ("--optimiser.param-groups=dedup", "optimiser.param-groups", "legacy", "dedup"),
        ("--gan=vanilla", "gan", "ls", "vanilla"),
        ("--main.space=output", "main.space", "entropy", "output"),
    ],
)
def test_flags_under_which_a_checkpoint_means_other_things_are_refused(
    tmp_path: Path, adaptation: Adaptation, before: str, flag: str, value: str, was: str
) -> None:
    _, config = parse_command(["smoke", "--generator.weights=none", f"--run.dir={tmp_path}", before])
    started = open_run(config, "smoke", "adaptseg-train smoke")
    started.write_config()
    save(started, adaptation, 1)
    again, config = resumed(started, f"--{flag}={value}")
    with pytest.raises(ConfigError, match=rf"--{flag} {value}: the run was trained with {was}, which can't"):
        resume(again, adaptation)


def test_another_strength_of_average_and_teacher_is_no_other_kind() -> None:
    def config(*flags: str) -> TrainConfig:
        return parse_command(["smoke", *flags])[1]

    check_kept(config("--optimiser.average=0.9"), config("--optimiser.average=0.99"))
    check_kept(config("--self-training.weight=1"), config("--self-training.weight=0.5"))


@pytest.mark.parametrize("before", ["0.9", "0"])
def test_self_training_may_begin_where_adaptation_ended(tmp_path: Path, before: str) -> None:
    """A second stage: the average becomes the teacher, without one both begin as the generator; all else goes on."""
    flags = ("--generator.weights=none", f"--run.dir={tmp_path}", f"--optimiser.average={before}", "--balance-shares=4")
    _, config = parse_command(["smoke", *flags])
    first = adapt(config)
    if first.average is not None:
        with torch.no_grad():
            for parameter in first.average.generator.parameters():
                parameter.add_(1)  # away from the student
    started = open_run(config, "smoke", "adaptseg-train smoke")
    started.write_config()
    save(started, first, 1)
    again, config = resumed(started, "--optimiser.average=0", "--self-training.weight=1")
    second = adapt(config)
    assert resume(again, second) == 1
    assert second.self_training is not None
    assert_same(second.deployed.state_dict(), first.deployed.state_dict())
    assert_same(second.generator.state_dict(), first.generator.state_dict())
    assert_same(second.discriminators.state_dict(), first.discriminators.state_dict())


def test_what_no_discriminator_sees_may_change() -> None:
    def config(*flags: str) -> TrainConfig:
        return parse_command(["smoke", "--aux.adv-weight=0", "--main.adv-weight=0", *flags])[1]

    check_kept(config("--gan=ls", "--main.space=entropy"), config())


@pytest.mark.parametrize("saved", [False, True])
def test_a_preset_beside_resume_must_be_the_runs_own(run: Run, adaptation: Adaptation, saved: bool) -> None:
    """Before its first checkpoint a run's preset is known by the command on top of its config.yaml."""
    if saved:
        save(run, adaptation, 1)
    flag = f"--run.resume={run.path}"
    assert parse_command(["smoke", flag]) == parse_command([flag])
    assert parse_command([flag])[0] == "smoke"
    with pytest.raises(ConfigError, match=r"is a run of smoke and goes on under its own config: demo would not count"):
        parse_command(["demo", flag])


def test_a_run_that_died_before_its_first_checkpoint_may_be_resumed_twice(run: Run) -> None:
    """The command on top of its config.yaml then is the first resume's, which names no preset."""
    flag = f"--run.resume={run.path}"
    config = run.path / "config.yaml"
    config.write_text(f"# adaptseg-train {flag}\n" + config.read_text().partition("\n")[2])
    assert parse_command(["smoke", flag])[0] == "smoke"


def test_a_preset_of_ones_own_may_have_a_blank_in_its_path(run: Run, tmp_path: Path) -> None:
    flag, config = f"--run.resume={run.path}", run.path / "config.yaml"
    preset = str(tmp_path / "my presets" / "own.yaml")
    config.write_text(f"# {shlex.join(['adaptseg-train', preset])}\n" + config.read_text().partition("\n")[2])
    assert parse_command([flag])[0] == preset


@pytest.mark.parametrize("name", [RECORD, GENERATOR])
def test_a_damaged_checkpoint_is_named(run: Run, adaptation: Adaptation, name: str) -> None:
    folder = save(run, adaptation, 1)
    (folder / name).write_bytes(b"\x00damaged")
    with pytest.raises(CheckpointError, match="step_00000001"):
        load_checkpoint(run.path)


@pytest.mark.parametrize("name", [TRAINING, GENERATOR])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_resume_from_damage_says_what_to_delete(run: Run, adaptation: Adaptation, name: str, damage: str) -> None:
    file = save(run, adaptation, 1) / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"rubbish" * 99)
    with pytest.raises(CheckpointError, match=rf"{name} .*; delete .*step_00000001 and resume again"):
        resume(run, adaptation)


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        load_checkpoint(tmp_path)
