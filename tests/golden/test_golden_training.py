"""Whole training iterations of every train_*.npz: losses, parameters, buffers."""

from pathlib import Path

import pytest

from golden import recipe
from golden.training import check_training


@pytest.mark.parametrize("path", recipe.files("train_*.npz"))
def test_training(path: Path) -> None:
    check_training(path)
