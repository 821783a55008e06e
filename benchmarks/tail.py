"""From logits to a label map: the sparse tail against the dense ways.

    python benchmarks/tail.py [--size 1024 2048] [--classes 19] [--rounds 9] [--threads 0] [--logits logits.npy]

Contenders take turns in one run; CPU is the processor time of all threads; ours uses one thread, the others
`--threads` (0: all processors). Scenes: `smooth` and `hard` are blurred noise (the share of mixed cells is printed),
`noise` is the worst case, `constant` the best; --logits adds a real (C, h, w) array. Ties: pixels that differ from
float64 interpolate + argmax by a margin of at most 1e-4; wrong: by more. Memory: rise of the peak RSS over one call
in a fresh process. The last line is JSON.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from contest import machine, take_turns

from adaptseg_serve import tail

Way = Callable[[np.ndarray], np.ndarray]
"""(C, h, w) float32 logits -> (H, W) uint8 label map."""

TIE = 1e-4
HALF_PIXEL = {"opencv"}
"""Contenders that can't align corners; they are compared with float64 of their own kind."""


def ours(size: tuple[int, int], threads: int) -> Way:
    tail.prepare()
    return lambda logits: tail.label_map_from_logits(logits, size)


def torch_way(size: tuple[int, int], threads: int) -> Way:
    import torch

    torch.set_num_threads(threads)

    def way(logits: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(logits)[None]
        with torch.inference_mode():
            scores = torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=True)
            return scores.argmax(1)[0].to(torch.uint8).numpy()

    return way


def dense_graph(size: tuple[int, int]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Shape", ["logits"], ["nc"], start=0, end=2),
        helper.make_node("Concat", ["nc", "hw"], ["full"], axis=0),
        helper.make_node(
            "Resize", ["logits", "", "", "full"], ["scores"], mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
        helper.make_node("ArgMax", ["scores"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["label_map"], to=TensorProto.UINT8),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "tail",
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "C", "h", "w"])],
        [helper.make_tensor_value_info("label_map", TensorProto.UINT8, ["N", "H", "W"])],
        [numpy_helper.from_array(np.array(size, np.int64), "hw")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def onnxruntime_way(size: tuple[int, int], threads: int) -> Way:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(dense_graph(size), options, providers=["CPUExecutionProvider"])
    return lambda logits: session.run(None, {"logits": logits[None]})[0][0]


def openvino_way(size: tuple[int, int], threads: int) -> Way:
    import io

    import openvino

    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(core.read_model(io.BytesIO(dense_graph(size))), "CPU", hints).create_infer_request()
    return lambda logits: request.infer([logits[None]])[0][0]


def opencv_way(size: tuple[int, int], threads: int) -> Way:
    """One class at a time, running max in two planes."""
    cv2.setNumThreads(threads)

    def way(logits: np.ndarray) -> np.ndarray:
        best = cv2.resize(logits[0], size[::-1], interpolation=cv2.INTER_LINEAR)
        out = np.zeros(size, np.uint8)
        for k, plane in enumerate(logits[1:], 1):
            score = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
            out[score > best] = k
            cv2.max(best, score, dst=best)
        return out

    return way


def numpy_way(size: tuple[int, int], threads: int) -> Way:
    def way(logits: np.ndarray) -> np.ndarray:
        return tail._dense(logits, *(tail.Axis(n, m, True) for n, m in zip(logits.shape[1:], size, strict=True)))

    return way


WAYS: dict[str, Callable[[tuple[int, int], int], Way]] = {
    "ours": ours,
    "onnxruntime": onnxruntime_way,
    "openvino": openvino_way,
    "torch": torch_way,
    "opencv": opencv_way,
    "ours without numba": numpy_way,
}


def scenes(classes: int, h: int, w: int) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(size=(classes, h, w)).astype(np.float32)

    def blurred(sigma: float) -> np.ndarray:
        planes = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in noise])
        return np.ascontiguousarray(5 * planes / planes.std())

    constant = np.ascontiguousarray(np.broadcast_to(noise[:, :1, :1], noise.shape))
    return {"smooth": blurred(6), "hard": blurred(3), "noise": 5 * noise, "constant": constant}


def mixed(logits: np.ndarray) -> float:
    """Share of cells whose corners disagree."""
    a = logits.argmax(0)
    same = (a[1:, 1:] == a[:-1, 1:]) & (a[1:, 1:] == a[1:, :-1]) & (a[1:, 1:] == a[:-1, :-1])
    return round(float(1 - same.mean()), 3)


def wrong(logits: np.ndarray, found: np.ndarray, align_corners: bool) -> dict[str, int]:
    import torch

    planes = torch.from_numpy(logits).double()[None]
    size = (found.shape[0], found.shape[1])
    scores = torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=align_corners)[0]
    index = torch.from_numpy(np.ascontiguousarray(found)).long()
    lost = scores.max(0).values - scores.gather(0, index[None])[0]
    return {"ties": int(((scores.argmax(0) != index) & (lost <= TIE)).sum()), "wrong": int((lost > TIE).sum())}


def memory_mb(name: str, arguments: list[str]) -> float:
    """Rise of the peak RSS over one call, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments, "--memory-of", name], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def status_mb(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) / 1024 if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--logits", type=Path)
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = (int(options.size[0]), int(options.size[1]))
    cases = scenes(options.classes, size[0] // 8 + 1, size[1] // 8 + 1)
    if options.logits:
        cases["real"] = np.ascontiguousarray(np.load(options.logits), np.float32)
    threads = options.threads or machine()["cpus"]
    if options.memory_of:
        way = WAYS[options.memory_of](size, threads)
        Path("/proc/self/clear_refs").write_text("5")  # Forget the peak of what was imported.
        before = status_mb("VmRSS")
        way(cases["hard"])
        print(max(0.0, status_mb("VmHWM") - before))
        return
    arguments = [str(a) for a in ("--size", *size, "--classes", options.classes, "--threads", threads)]
    report: dict[str, Any] = {"benchmark": "tail", "size": size, "threads": threads, **machine(), "results": {}}
    memory = {name: round(memory_mb(name, arguments), 1) for name in WAYS}
    ways = {name: make(size, threads) for name, make in WAYS.items()}
    for scene, logits in cases.items():
        print(f"\n{scene}: {mixed(logits):.0%} of the cells mixed, {logits.shape} -> {size}")
        heads = "median ms", "best ms", "CPU ms", "x ours", "peak MB", "ties", "wrong"
        print(f"{'':20s}" + "".join(f"{head:>11s}" for head in heads))
        times = take_turns({n: lambda way=way, x=logits: way(x) for n, way in ways.items()}, options.rounds)
        rows = report["results"][scene] = {"mixed_cells": mixed(logits)}
        for name, taken in times.items():
            row = rows[name] = {**taken, "peak_mb": memory[name]}
            row |= wrong(logits, ways[name](logits), name not in HALF_PIXEL)
            ratio = taken["median_ms"] / times["ours"]["median_ms"]
            cells = row["median_ms"], row["best_ms"], row["cpu_ms"], ratio, row["peak_mb"], row["ties"], row["wrong"]
            print(
                f"{name:20s}" + "".join(f"{cell:11.2f}" if isinstance(cell, float) else f"{cell:11d}" for cell in cells)
            )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
