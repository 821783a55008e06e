"""A few hundred mixed requests: no fault of the service, and memory stays. The long run is benchmarks/soak.py."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.serving import ROOT, serving


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield importlib.import_module("soak").soak
    for name in ("soak", "contest", "gate", "gate_bytes"):
        sys.modules.pop(name, None)


def test_memory_stays_and_nothing_is_the_services_fault(soak: Any, tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tiny_bundle, tmp_path) as server:
        found = asyncio.run(soak(server, 400, (48, 64)))
    assert found["faults"] == 0, found
    outcomes = found["outcomes"]
    answers = {"good": "200", "rpc": "200", "bad": "400", "bad_rpc": "400"}
    assert all(status in outcomes[kind] for kind, status in answers.items()), found
    assert "413" in outcomes["too_many_pixels"], found
    assert "413" in outcomes["too_many_bytes"], found
    # Refused bodies of 17 MB that were kept would show, and one image of 13000 x 13000 that was decoded.
    assert found["growth_mb"] < 15, found
    assert found["peak_mb"] < max(found["memory_mb"]) + 100, found
