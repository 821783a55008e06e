"""Every command of the README's shell blocks runs, in the order a reader types them; test_docs.py parses the rest."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.serving import free_port
from PIL import Image

from adaptseg_serve.bundle import open_bundle, packaged_bundle

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SHELL = [block for language, block in BLOCKS if language == "sh"]
YAML = [block for language, block in BLOCKS if language == "yaml"]
PYTHON = [block for language, block in BLOCKS if language == "python"]


def environment(folder: Path) -> dict[str, str]:
    """As after `. .venv/bin/activate`, with nothing of BentoML's left behind."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}


def lines_of(block: str) -> list[str]:
    """Commands that need a run of their own: the environment is there already, and make's targets come apart."""
    return [line for line in block.splitlines() if line.strip() and not line.startswith((". ", "make "))]


def run(line: str, folder: Path) -> str:
    done = subprocess.run(line, shell=True, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def recipe(target: str) -> str:
    """What `make TARGET` runs once its environment exists."""
    words = ["make", "--no-print-directory", "--dry-run", "--assume-old=pyproject.toml", *shlex.split(target)]
    words += [f"BIN={Path(sys.executable).parent}", f"VENV={sys.prefix}"]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return printed.replace("\\\n", " ").strip().splitlines()[-1]


@contextmanager
def made_to_serve(folder: Path, bundle: Path, http_port: int, grpc_port: int) -> Iterator[None]:
    """`make serve BUNDLE=...` until the block ends."""
    line = recipe(f"serve BUNDLE={bundle} HTTP_PORT={http_port} GRPC_PORT={grpc_port}")
    with subprocess.Popen(
        line, shell=True, cwd=ROOT, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as server:
        try:
            wait_until_ready(http_port, server)
            yield
        finally:
            server.terminate()


def wait_until_ready(port: int, server: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            assert server.poll() is None, "make serve ended"
            assert time.monotonic() < give_up
            time.sleep(0.1)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^make (\w+)", "\n".join(SHELL), re.MULTILINE)
    assert {"serve", "test", "env"} <= set(targets)
    assert all(recipe(target) for target in targets if target != "env")


def test_a_video_is_labelled_adapted_to_and_exported(tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "my_drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for seed in range(4):
        video.write(np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8))
    video.release()
    label, adapt, export = lines_of(SHELL[1])
    run(label, tmp_path)
    assert [path.suffix for path in (tmp_path / "predictions").rglob("*") if path.is_file()] == [".mp4"]
    short = "--run.stop-step 1 --run.batch-size 1 --source.size 64 96 --target.size 64 96 --run.workers 0"
    run(f"{adapt} {short}", tmp_path)
    run(export, tmp_path)
    assert open_bundle(tmp_path / "bundles/mine").preprocess.size == (360, 480)


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("make"), reason="needs curl and make")
def test_the_tour_trains_exports_serves_and_answers(folder: Path) -> None:
    tour, second_terminal = SHELL[2], SHELL[3]
    for line in lines_of(tour):
        run(line, folder)
    http_port, grpc_port = free_port(), free_port()
    with made_to_serve(folder, folder / "bundles" / "first", http_port, grpc_port):
        for line in lines_of(second_terminal):
            run(line.replace(":3000", f":{http_port}"), folder)
    frame, answer, overlay = (
        opened(folder / name) for name in ("streets/images/00000000.jpg", "map.png", "overlay.png")
    )
    assert (answer.mode, answer.size, overlay.size) == ("P", frame.size, frame.size)
    assert np.asarray(answer).max() < 19
    assert len(list((folder / "predictions").rglob("*.png"))) >= 4


def test_help_shows_the_defaults_of_the_preset_it_is_asked_about(folder: Path) -> None:
    usage, flags, presets = (run(line, folder) for line in lines_of(SHELL[4]))
    assert "--generator.backbone resnet101" in usage
    assert "--generator.backbone lite0" in flags
    assert "\ndemo " in presets


def test_the_tours_frames_can_be_described_as_own_data(tmp_path: Path) -> None:
    run("adaptseg-data synthesize streets --count 2 --look dusk", tmp_path)
    (tmp_path / "roads.yaml").write_text(YAML[0])
    for line in lines_of(SHELL[5]):
        run(line, tmp_path)
    assert opened(tmp_path / "roads.png").mode == "RGB"


def test_the_python_example_asks_the_packaged_model(folder: Path) -> None:
    http_port, grpc_port = free_port(), free_port()
    (folder / "ask.py").write_text(PYTHON[0].replace(":3001", f":{grpc_port}") + "\nprint(label_map.shape)\n")
    with made_to_serve(folder, packaged_bundle(), http_port, grpc_port):
        assert run(f"{shlex.quote(sys.executable)} ask.py", folder) == "(1, 360, 480)\n"
