"""Gates 5 and 6: what the service adds to a model that costs nothing, and how even it is."""

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from gate import SLOW, Gate, tiny_server
from gate_peer import triton
from gate_triton import COLD, TURN
from helpers.serving import Server, serving

from adaptseg_serve.settings import PACKAGED

SCRIPT = Path(__file__).with_name("gate_triton.py")
STATED_MS = {1: 3.6, 4: 12.5}
"""Clients -> p50 of Triton's Python backend, as stated for a quiet machine of this kind; where it isn't at hand."""

Figures = dict[str, Any]


def overhead_and_tail(requests: int, peer: Path | None) -> list[Gate]:
    """Both gates, from one server. `peer` is the interpreter of an environment with nvidia-pytriton, or None.

    The machine may be shared: processor time of the worker goes with each figure.
    """
    with (
        tiny_server(service=SLOW, SLOW_SECONDS="0") as server,
        nullcontext() if peer is None else triton(peer) as theirs,
    ):
        ours_and_theirs = {clients: contest(server, theirs, clients, requests) for clients in STATED_MS}
    return [
        _overhead(ours_and_theirs),
        _tail({"trivial_model": ours_and_theirs[4][0], "packaged_model": real_model(requests)}),
    ]


def real_model(requests: int) -> Figures:
    """Four clients of the packaged model: what the tail is to somebody who uses it."""
    with TemporaryDirectory() as folder, serving(PACKAGED, Path(folder)) as server:
        return _figures(load([server.grpc_target], 4, requests)[0], 4)


def _tail(found: dict[str, Figures]) -> Gate:
    figures = {
        model: {"p50_ms": f["p50_ms"], "p99_ms": f["p99_ms"], "ratio": round(f["p99_ms"] / f["p50_ms"], 2)}
        for model, f in found.items()
    }
    even = all(each["ratio"] <= 2 for each in figures.values())
    return Gate(6, "p99 at most 2 x p50 at four clients", even, figures)


def _overhead(found: dict[int, tuple[Figures, Figures | None]]) -> Gate:
    figures: Figures = {}
    passed = True
    for clients, (ours, theirs) in found.items():
        figures[f"clients_{clients}"] = ours
        figures[f"clients_{clients}_triton"] = theirs or {"stated_p50_ms": STATED_MS[clients]}
        passed &= ours["p50_ms"] <= (theirs["p50_ms"] if theirs else STATED_MS[clients])
        passed &= theirs is None or ours["per_s"] >= theirs["per_s"]
    how = "in turns with it" if all(theirs for _, theirs in found.values()) else "not here: stated p50"
    return Gate(
        5, f"a trivial model over gRPC, p50 and rate at Triton's Python backend or better ({how})", passed, figures
    )


def contest(server: Server, peer: str | None, clients: int, requests: int) -> tuple[Figures, Figures | None]:
    """Our figures and the peer's at so many clients, who ask both in turns."""
    worker = psutil.Process(server.process.pid).children(recursive=True)[-1]
    before = worker.cpu_times()
    ours, *theirs = load([server.grpc_target] + ([] if peer is None else [peer]), clients, requests)
    after = worker.cpu_times()
    used = after.user + after.system - before.user - before.system
    asked = clients * (1 + TURN * (1 + _rounds(clients, requests)))
    figures = _figures(ours, clients) | {"cpu_ms": round(1000 * used / asked, 2)}
    return figures, _figures(theirs[0], clients) if theirs else None


def load(targets: list[str], clients: int, requests: int) -> list[list[float]]:
    """Milliseconds of `requests` or some more to each server, from `clients` at once, in a process of their own."""
    command = [sys.executable, str(SCRIPT), str(clients), str(_rounds(clients, requests)), *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [[float(each) for each in times] for times in json.loads(done.stdout)]


def _rounds(clients: int, requests: int) -> int:
    return math.ceil(requests / (clients * (TURN - COLD)))


def _figures(times: list[float], clients: int) -> Figures:
    """p50 and p99, and requests a second over all clients."""
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "requests": len(times),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "per_s": round(1000 * clients / float(np.mean(times)), 1),
    }
