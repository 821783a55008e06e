"""Gates 5 and 6: what the service adds to a model that costs nothing, and how even it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from gate import SLOW, Gate, tiny_server
from helpers.serving import Server

WARM = 20
"""Requests of each client that are sent, but not timed."""
SCRIPT = Path(__file__).with_name("gate_triton.py")
TRITON_MS = {1: 3.6, 4: 12.5}
"""Clients -> p50 of Triton's Python backend, as stated for a quiet machine of this kind; not measured here."""


def overhead_and_tail(requests: int) -> list[Gate]:
    """Both gates, from one server. The machine may be shared: processor time of the worker goes with each figure."""
    with tiny_server(service=SLOW, SLOW_SECONDS="0") as server:
        one, four = (load(server, clients, requests) for clients in TRITON_MS)
    figures = {"one_client": one, "four_clients": four, "stated_for_triton_ms": list(TRITON_MS.values())}
    wanted = "gRPC p50 of a trivial model at Triton's Python backend or better (Triton is not here: stated figures)"
    passed = one["p50_ms"] <= TRITON_MS[1] and four["p50_ms"] <= TRITON_MS[4]
    ratio = round(four["p99_ms"] / four["p50_ms"], 2)
    tail = {"p50_ms": four["p50_ms"], "p99_ms": four["p99_ms"], "ratio": ratio, "requests": four["requests"]}
    return [Gate(5, wanted, passed, figures), Gate(6, "p99 at most 2 x p50 at four clients", ratio <= 2, tail)]


def load(server: Server, clients: int, requests: int) -> dict[str, Any]:
    """p50 and p99 of `clients` at once, requests a second over all, and processor ms of the worker a request."""
    worker = psutil.Process(server.process.pid).children(recursive=True)[-1]
    command = [sys.executable, str(SCRIPT), server.grpc_target, str(clients), str(requests), str(WARM)]
    before = worker.cpu_times()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = worker.cpu_times()
    times = json.loads(done.stdout)
    used = after.user + after.system - before.user - before.system
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "requests": len(times),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "per_s": round(1000 * clients / float(np.mean(times)), 1),
        "cpu_ms": round(1000 * used / (len(times) + clients * WARM), 2),
    }
