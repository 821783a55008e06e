"""What a client costs: our own over gRPC beside NVIDIA's tritonclient: `python benchmarks/client.py [--requests 800]`

One frame of 512x1024 as raw pixels, one request after the other, to a service whose model costs nothing. The
contenders take turns, each in a process of its own, and each sends the same array anew, as a camera's frames come.
Prints p50 and p99 in ms, then a JSON line.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import tritonclient.grpc as triton
from contest import machine
from gate import SIZE, SLOW, tiny_server

from adaptseg_serve.client import SegmentationClient
from adaptseg_serve.memory import keep_freed_memory

CONTENDERS = ("ours", "ours, keep_freed_memory", "tritonclient")
WARM, ROUNDS = 20, 4
FRAME = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=800, help="of each contender, in all")
    parser.add_argument("--ask", nargs=2, metavar=("CONTENDER", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(times(*options.ask, options.requests)))
        return 0
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tiny_server(service=SLOW, SLOW_SECONDS="0") as server:
        for turn in range(ROUNDS):
            for name in CONTENDERS if turn % 2 == 0 else CONTENDERS[::-1]:
                ask = ["--ask", name, server.grpc_target, "--requests", str(options.requests // ROUNDS)]
                done = subprocess.run([sys.executable, __file__, *ask], capture_output=True, text=True, check=True)
                found[name] += json.loads(done.stdout)
    figures = {
        name: {f"p{share}_ms": round(float(np.percentile(ms, share)), 2) for share in (50, 99)}
        for name, ms in found.items()
    }
    for name, each in figures.items():
        print(f"{name:<26}p50 {each['p50_ms']:.2f} ms, p99 {each['p99_ms']:.2f} ms")
    print(json.dumps({"benchmark": "client", **machine(), "requests": options.requests, "figures": figures}))
    return 0


def times(name: str, target: str, requests: int) -> list[float]:
    """Milliseconds of each call."""
    with ExitStack() as open_clients:
        call = _triton(target, open_clients) if name == "tritonclient" else _ours(name, target, open_clients)
        taken = []
        for number in range(-WARM, requests):
            started = time.perf_counter()
            label_map = call()
            if number >= 0:
                taken.append(1000 * (time.perf_counter() - started))
        assert label_map.shape[-2:] == SIZE
    return taken


def _ours(name: str, target: str, open_clients: ExitStack) -> Callable[[], np.ndarray]:
    if "keep_freed_memory" in name:
        keep_freed_memory(256 << 20)
    client = open_clients.enter_context(SegmentationClient(f"grpc://{target}"))
    return lambda: client.segment(FRAME).label_map


def _triton(target: str, open_clients: ExitStack) -> Callable[[], np.ndarray]:
    channel = [("grpc.max_receive_message_length", -1)]
    client = open_clients.enter_context(triton.InferenceServerClient(target, channel_args=channel))

    def call() -> np.ndarray:
        image = triton.InferInput("image", [1, *FRAME.shape], "UINT8")
        image.set_data_from_numpy(FRAME[None])
        return np.array(client.infer("segmenter", [image]).as_numpy("label_map"))  # ours is writable, too

    return call


if __name__ == "__main__":
    sys.exit(main())
