"""Which GPU each worker would open, by what CUDA reads when it starts. Runs without a GPU."""

from pathlib import Path

import pytest

from adaptseg_serve.devices import VISIBLE, pin


def gpus(named: str | None, workers: int, folder: Path, installed: int = 0) -> list[str | None]:
    """The GPU of each of `workers`, on a machine with `installed` ones."""
    driver = folder / "gpus"
    for number in range(installed):
        (driver / f"0000:{number:02x}:00.0").mkdir(parents=True)
    found = []
    for worker in range(1, workers + 1):
        environ = {} if named is None else {VISIBLE: named}
        gpu = pin(worker, workers, environ, driver)
        assert environ.get(VISIBLE) == (gpu or named)
        found.append(gpu)
    return found


@pytest.mark.parametrize(
    ("named", "installed", "workers", "expected"),
    [
        (None, 4, 4, ["0", "1", "2", "3"]),
        (None, 2, 4, ["0", "1", "0", "1"]),
        (None, 0, 2, [None, None]),
        (None, 4, 1, [None]),
        ("3", 4, 1, [None]),
        ("3,1", 4, 2, ["3", "1"]),
        ("GPU-1a, MIG-1-1", 4, 3, ["GPU-1a", "MIG-1-1", "GPU-1a"]),
        ("1,-1,2", 4, 2, ["1", "1"]),
        ("", 4, 2, [None, None]),
    ],
)
def test_each_worker_has_one(
    named: str | None, installed: int, workers: int, expected: list[str | None], tmp_path: Path
) -> None:
    assert gpus(named, workers, tmp_path, installed) == expected
