"""`adaptseg-bench BUNDLE`: every runtime of this machine x shape: time, memory, agreement, mIoU.

Contenders take turns, so that a busy moment of the machine hits all alike. Memory is the rise of the peak resident
size over loading and one run, in a fresh process of its own.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from adaptseg_export.checks import check_bench, check_found
from adaptseg_export.options import BenchOptions, parse_bench
from adaptseg_export.probes import street
from adaptseg_export.report import wide_console
from adaptseg_export.verify import RUNTIMES, Check, load_those_here, takes, verify
from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.predictor import Predictor, load_predictor, warm_up
from adaptseg_training.cli.common import guarded

Shape = tuple[int, int, int]
"""(N, H, W)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 measured, 1 failed, 2 usage."""
    return guarded("adaptseg-bench", bench_command, sys.argv[1:] if argv is None else argv)


def bench_command(words: Sequence[str]) -> int:
    """Parse, measure and print; returns the exit code."""
    options = parse_bench(words)
    check_bench(options)
    rows = measure(options)
    wide_console(stderr=True).print(_table(rows))
    print(json.dumps({"benchmark": "bundle", "bundle": options.bundle.name, "rows": rows}))
    return 0


def measure(options: BenchOptions) -> list[dict[str, Any]]:
    """One row for each runtime and shape, JSON values; the reference runtime first."""
    bundle = open_bundle(options.bundle)
    only = options.runtimes or tuple(RUNTIMES)
    predictors = load_those_here(bundle, lambda line: print(line, file=sys.stderr), options.threads, only)
    check_found(options.runtimes, list(predictors))
    scores = _mious(bundle, predictors, options)
    shapes = [(batch, *size) for size in _sizes(bundle, options) for batch in options.batches]
    rows: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("shapes", total=len(shapes) * (options.rounds + 1))
        for shape in shapes:
            images = street(shape)
            those = {name: each for name, each in predictors.items() if takes(name, bundle, images)}
            checks = verify(bundle, those, [("street", images)])
            times = take_turns(those, images, options.rounds, lambda: progress.advance(task))
            progress.advance(task)
            for check in checks:
                name = check.agreement.runtime
                memory = peak_memory_mb(options.bundle, name, shape, options.threads)
                rows.append(_row(check, shape, times[name], memory, scores.get(name)))
    return rows


def take_turns(
    predictors: Mapping[str, Predictor], images: NDArray[np.uint8], rounds: int, tick: Any
) -> dict[str, list[float]]:
    """Seconds of each of `rounds` calls of each predictor, after one that doesn't count."""
    size = (images.shape[1], images.shape[2])
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for predictor in predictors.values():
        warm_up(predictor, size, (len(images),))
    for _ in range(rounds):
        for name, predictor in predictors.items():
            start = time.perf_counter()
            predictor.predict(images, [size] * len(images))
            times[name].append(time.perf_counter() - start)
        tick()
    return times


def peak_memory_mb(bundle: Path, runtime: str, shape: Shape, threads: int) -> float | None:
    """Rise of the peak resident size over loading `runtime` and one run, in a fresh process; None if that failed."""
    words = [sys.executable, "-m", "adaptseg_export.bench", "--memory", str(bundle), runtime, str(threads)]
    done = subprocess.run([*words, *map(str, shape)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return float(done.stdout.split()[-1])
    why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    print(f"{runtime}: its memory was not measured ({why})", file=sys.stderr)
    return None


def _memory(words: Sequence[str]) -> None:
    bundle, runtime, threads, *shape = words
    batch, height, width = (int(n) for n in shape)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Forget the peak of what was imported.
    before = _status_mb("VmRSS")
    warm_up(load_predictor(open_bundle(bundle), int(threads), runtime), (height, width), (batch,))
    print(max(0.0, _status_mb("VmHWM") - before))


def _status_mb(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise OSError(f"/proc/self/status says nothing of {field}")
    return int(found.group(1)) / 1024


def _sizes(bundle: Bundle, options: BenchOptions) -> list[tuple[int, int]]:
    return list(options.sizes) or [bundle.preprocess.size]


def _mious(bundle: Bundle, predictors: Mapping[str, Predictor], options: BenchOptions) -> Mapping[str, float | None]:
    if options.score is None:
        return {}
    from adaptseg_export.mious import mious

    return mious(bundle, predictors, options.score)


def _row(check: Check, shape: Shape, times: list[float], memory: float | None, miou: float | None) -> dict[str, Any]:
    agreement = check.agreement
    p50, p99 = (float(np.quantile(times, q)) for q in (0.5, 0.99))
    return {
        "runtime": agreement.runtime,
        "graph": agreement.graph,
        "shape": list(shape),
        "p50_ms": round(1e3 * p50, 2),
        "p99_ms": round(1e3 * p99, 2),
        "images_per_second": round(shape[0] / p50, 2),
        "peak_mb": None if memory is None else round(memory, 1),
        "agreement": agreement.pixels,
        "sure_agreement": agreement.sure,
        "miou": miou,
        "fault": check.fault,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="runtime x graph x shape; agreement is with onnxruntime-cpu on model.onnx")
    for heading in (
        "runtime",
        "graph",
        "N x H x W",
        "p50 ms",
        "p99 ms",
        "images/s",
        "peak MB",
        "agree",
        "sure",
        "mIoU",
    ):
        table.add_column(heading, justify="left" if heading in ("runtime", "graph") else "right")
    for row in rows:
        peak = "" if row["peak_mb"] is None else row["peak_mb"]
        cells = (row["p50_ms"], row["p99_ms"], row["images_per_second"], peak)
        miou = "" if row["miou"] is None else f"{row['miou']:.4f}"
        shares = (f"{row['agreement']:.3%}", f"{row['sure_agreement']:.3%}", miou)
        table.add_row(row["runtime"], row["graph"], " x ".join(map(str, row["shape"])), *map(str, cells), *shares)
    return table


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        _memory(sys.argv[2:])
    else:
        sys.exit(main())
