"""Fixtures that several tests share, and one thread for each of several processes that run tests."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.camvid_tree import write_camvid
from helpers.serving import Server, serving
from helpers.tiny_bundle import write_tiny_bundle

if "PYTEST_XDIST_WORKER" in os.environ:  # They have the processors between them. Before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

collect_ignore = [] if find_spec("playwright") else ["page"]


def pytest_report_header() -> str:
    return "tests/page is left out: playwright is not installed (pip install playwright)" if collect_ignore else ""


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle; its network's input is 48 x 64."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`bentoml serve` with the tiny bundle: `http_url`, `grpc_target` and `bundle`."""
    with serving(tiny_bundle, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def strict(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that takes bodies of 100000 bytes at most, and logs JSON."""
    environ = {"ADAPTSEG_LOG_FORMAT": "json", "ADAPTSEG_MAX_BODY_BYTES": "100000"}
    with serving(tiny_bundle, tmp_path_factory.mktemp("strict"), **environ) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that wants a token: `first` or `second`."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens").write_text("# the fleet's\nfirst  # car 1\n\nsecond\n")
    with serving(tiny_bundle, folder, ADAPTSEG_TOKENS_FILE=str(folder / "tokens")) as running:
        yield running


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Two train frames by day, one at dusk, in CamVid's layout; label ids 0..11 in columns."""
    label_map = np.tile(np.arange(84, dtype=np.uint8) // 7, (60, 1))
    return write_camvid(tmp_path, dict.fromkeys(("0001TP_1", "0006R0_1", "0016E5_1"), label_map), "train")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten grey frames, the n-th of level 20 n."""
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path
