"""Real frames for tests: the folder ADAPTSEG_DATA, or ../shared/data beside the repository."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ADAPTSEG_DATA") or Path(__file__).parents[3] / "shared" / "data")


def needs(name: str) -> pytest.MarkDecorator:
    """Skip, saying so, where the data set `name` isn't there."""
    reason = f"no {name} in {DATA}; set ADAPTSEG_DATA to its folder"
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=reason)
