"""A few hundred mixed requests: no fault of the service, and memory stays. The long run is benchmarks/soak.py."""

import asyncio
import sys
from pathlib import Path

from helpers.serving import ROOT, serving

sys.path.append(str(ROOT / "benchmarks"))
from soak import soak


def test_memory_stays_and_nothing_is_the_services_fault(tiny_bundle: Path, tmp_path: Path) -> None:
    with serving(tiny_bundle, tmp_path) as server:
        found = asyncio.run(soak(server, 400, (48, 64)))
    assert found["faults"] == 0, found
    assert {"200", "400", "413", "hung up"} <= found["outcomes"].keys()
    # A refused 17 MB body that were kept, or one image of 13000 x 13000 decoded, would show.
    assert found["growth_mb"] < 15, found
