"""Which GPU a worker takes. Read by CUDA when it starts, so `pin` comes before anything that loads it."""

import logging
import os
from collections.abc import MutableMapping
from itertools import takewhile
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver has a folder for each GPU."""

_log = logging.getLogger(__name__)


def pin(worker: int, workers: int, environ: MutableMapping[str, str] = os.environ, driver: Path = DRIVER) -> str | None:
    """Leave this process one GPU, and return it; None where there is nothing to choose.

    worker: 1 to `workers`. The GPUs are those of CUDA_VISIBLE_DEVICES (numbers, UUIDs, MIG instances), or else all of
    the machine, dealt out in turn: with fewer GPUs than workers some share one.
    """
    gpus = _visible(environ, driver)
    if workers < 2 or not gpus:
        return None
    gpu = gpus[(worker - 1) % len(gpus)]
    environ[VISIBLE] = gpu
    _log.info("worker %d of %d takes GPU %s", worker, workers, gpu)
    return gpu


def _visible(environ: MutableMapping[str, str], driver: Path) -> list[str]:
    if (named := environ.get(VISIBLE)) is not None:
        gpus = (gpu.strip() for gpu in named.split(","))
        return list(takewhile(lambda gpu: gpu not in ("", "-1"), gpus))  # So does CUDA: -1 ends the list.
    return [str(number) for number, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
