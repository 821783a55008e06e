"""What is installed, and what an import costs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_exactly_the_three_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"adaptseg_serve", "adaptseg_training", "adaptseg_export"}


def test_the_wheel_holds_the_data_it_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = ["bundles/streets-lite/bundle.json", "bundles/streets-lite/model.onnx", "page/index.html", "py.typed"]
    assert {f"adaptseg_serve/{name}" for name in needed} <= names
    assert any(name.startswith("adaptseg_training/presets/") and name.endswith(".yaml") for name in names)


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after `statement`, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


HEAVY = {"torch", "torchvision", "timm", "tensorboard"}


@pytest.mark.parametrize(
    "module",
    [
        "adaptseg_serve",
        "adaptseg_serve.segmenter",
        "adaptseg_serve.service",
        "adaptseg_serve.runtimes.onnxruntime",
        "adaptseg_serve.cli.predict",
        "adaptseg_training.config",
        "adaptseg_training.presets",
        "adaptseg_training.cli.train",
        "adaptseg_export.cli",
    ],
)
def test_importing_loads_no_torch(module: str) -> None:
    assert not loaded_by(f"import {module}") & HEAVY


@pytest.mark.parametrize("module", ["adaptseg_serve", "adaptseg_serve.service"])
def test_importing_the_service_loads_no_runtime(module: str) -> None:
    assert "onnxruntime" not in loaded_by(f"import {module}")


ARROWS_DOWN = {
    "adaptseg_serve": ("adaptseg_training", "adaptseg_export"),
    "training/adaptseg_training": ("adaptseg_export",),
}


@pytest.mark.parametrize("package", ARROWS_DOWN)
def test_no_package_imports_one_above_it(package: str) -> None:
    offenders = [
        f"{path}: {line}"
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import ", "from ")) and any(above in line for above in ARROWS_DOWN[package])
    ]
    assert offenders == []
