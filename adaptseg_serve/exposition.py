"""The text that Prometheus reads: of all workers where they share a directory, else of this process."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def exposition(registry: "CollectorRegistry") -> bytes:
    """`registry`: this process's own metrics, for a process that has no workers beside it."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return generate_latest(registry)
    _forget_the_dead(Path(folder))
    workers = CollectorRegistry()
    MultiProcessCollector(workers)  # type: ignore[no-untyped-call]  # its __init__ has no types
    return generate_latest(workers)


def _forget_the_dead(folder: Path) -> None:
    """Delete the live gauges of workers that are gone; what they counted stays.

    A worker that was killed can't do it, and its parent starts another with another pid: the queue's capacity would
    have doubled for good, and a readiness of 0 would never rise again.
    """
    from prometheus_client.multiprocess import mark_process_dead

    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        if not _runs(pid):
            with contextlib.suppress(FileNotFoundError):  # Another worker that is asked now was faster.
                mark_process_dead(pid)  # type: ignore[no-untyped-call]  # it has no types


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
