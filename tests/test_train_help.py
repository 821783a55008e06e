"""What adaptseg-train says of itself: short where people look first, whole where they ask for it."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from adaptseg_training.cli.train import parse_command, train_command
from adaptseg_training.cli.train_help import ESSENTIAL, WIDTH
from adaptseg_training.presets import preset_names, setting_names

LEAVES = 78
"""Settings that are flags. A change here is a change of what people must learn: is the new flag worth it?"""


def helped(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse_command([*argv])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_help_fits_a_screen_and_a_half(capsys: pytest.CaptureFixture[str]) -> None:
    lines = helped(capsys, "--help").splitlines()
    assert len(lines) <= 76
    assert max(map(len, lines)) <= WIDTH + 2


def test_every_flag_of_the_short_help_is_one_of_the_parsers(capsys: pytest.CaptureFixture[str]) -> None:
    whole = helped(capsys, "--help-all")
    for name in (name for names in ESSENTIAL.values() for name in names):
        assert f"--{name}" in whole, name


def test_the_number_of_flags_is_a_reviewed_one() -> None:
    assert len(list(leaves())) == LEAVES
    assert sum(map(len, ESSENTIAL.values())) <= 35


def test_the_whole_help_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    whole = re.sub(r"\s", "", helped(capsys, "--help-all"))
    for name in leaves():
        assert f"--{name.replace('_', '-')}" in whole, name


def test_the_help_of_a_preset_shows_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(capsys, "gta5_to_cityscapes_single_ls_official", "--help")
    assert "--gan ls " in said
    assert "--main.adv-weight 0.01 " in said
    assert "--source.dataset gta5 " in said


def test_the_list_has_every_preset_with_its_table_and_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_command(["--presets"]) == 0
    said = capsys.readouterr().out
    listed = [line.split()[0] for line in said.splitlines() if line]
    assert sorted(listed) == list(preset_names())
    assert re.search(r"gta5_to_cityscapes_multi_paper +Table 1, Ours \(multi-level\): mIoU 42.4", said)


@pytest.mark.parametrize("flag", ["--help", "--help-all", "--presets"])
def test_asking_loads_no_torch(flag: str) -> None:
    code = (
        f"import sys\nfrom adaptseg_training.cli.train import train_command\n"
        f"try:\n train_command([{flag!r}])\nexcept SystemExit as end:\n assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def leaves() -> Iterator[str]:
    """Settings that hold a value, by full name."""
    names = setting_names()
    return (name for name in names if not any(other.startswith(f"{name}.") for other in names))
