"""How the commands end where something that a user can mend is missing."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from adaptseg_training.cli.common import guarded

ROOT = Path(__file__).parents[1]
WITHOUT_THE_EXTRA = """
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "onnx", "safetensors", "timm"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
_, module, *sys.argv = sys.argv
sys.argv.insert(0, module)
sys.exit(importlib.import_module(module).main())
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("adaptseg-train smoke", "adaptseg_training.cli.train"),
        ("adaptseg-data preview OUT.png", "adaptseg_training.cli.data"),
        ("adaptseg-evaluate --bundle BUNDLE --data.dataset streets", "adaptseg_training.cli.evaluate"),
        ("adaptseg-export CHECKPOINT OUT", "adaptseg_export.cli"),
        ("adaptseg-export --verify BUNDLE --score streets - day", "adaptseg_export.cli"),
        ("adaptseg-bench BUNDLE --score streets - day", "adaptseg_export.bench"),
    ],
)
def test_without_the_extra_train_each_command_says_how_to_install_it(
    tiny_bundle: Path, tmp_path: Path, command: str, module: str
) -> None:
    name, *words = command.replace("BUNDLE", str(tiny_bundle)).replace("OUT", str(tmp_path / "out")).split()
    path = os.pathsep.join(str(ROOT / part) for part in (".", "training", "export"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA, module, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"{name}: ")
    assert "needs the extra `train`: make env, or in the checkout pip install -c constraints.txt '.[train]'" in last


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    def command(argv: Sequence[str]) -> int:
        raise ModuleNotFoundError("gone", name="adaptseg_training.gone")

    with pytest.raises(ModuleNotFoundError, match="gone"):
        guarded("adaptseg-train", command, [])
