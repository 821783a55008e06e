"""Fixtures that several tests share."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.serving import Server, serving
from helpers.tiny_bundle import write_tiny_bundle

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
