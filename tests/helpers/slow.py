"""`bentoml serve` with slow_service's predictor, and when each of its runs began."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers.serving import ROOT, Server, serving


@dataclass(frozen=True)
class Runs:
    """The runs of a server's predictor, without those of its warm-up."""

    log: Path
    warm_up: int

    def begun(self) -> list[float]:
        """When each began, by time.monotonic()."""
        return [float(line.split()[0]) for line in self.log.read_text().splitlines()[self.warm_up :]]

    def wait_for(self, count: int) -> None:
        """Until so many have begun."""
        give_up = time.monotonic() + 20
        while len(self.begun()) < count:
            assert time.monotonic() < give_up, "no run began"
            time.sleep(0.01)


@contextmanager
def slow_server(bundle: Path, folder: Path, **environ: str) -> Iterator[tuple[Server, Runs]]:
    """Serve `bundle` until the block ends; `environ` has slow_service's variables, too."""
    log, service = folder / "runs", "helpers.slow_service:SegmentationService"
    with serving(bundle, folder, service, ROOT / "tests", SLOW_LOG=str(log), **environ) as server:
        yield server, Runs(log, len(log.read_text().splitlines()))
