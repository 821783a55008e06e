"""What the benchmarks share: contenders take turns, so that a busy moment of the machine hits them all alike."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def take_turns(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds a call of each: median and best by the clock, and the median of processor time, which the
    machine's other work hardly touches. One call of each goes before the clock starts."""
    for way in ways.values():
        way()
    clock: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start, start_processor = time.perf_counter(), time.process_time()
            way()
            processor[name].append(1e3 * (time.process_time() - start_processor))
            clock[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {
            "median_ms": _median(clock[name]),
            "best_ms": round(min(clock[name]), 3),
            "cpu_ms": _median(processor[name]),
        }
        for name in ways
    }


def _median(times: list[float]) -> float:
    return round(float(np.median(times)), 3)


def machine() -> dict[str, Any]:
    """Where a figure was taken. The load says how far to trust it."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
