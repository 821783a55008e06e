"""What an export is judged by, in one run: agreement with PyTorch, the tail, int8's speed and mIoU.

    python benchmarks/export.py [--checkpoint RUN --calibrate DATASET ROOT SPLIT --score DATASET ROOT SPLIT]
                                [--vgg-weights FILE] [--size 512 1024] [--only parity fp16 tail int8] [--rounds 9]

parity  the graphs of ResNet-101, VGG-16 and the light generator against torch, at --size and at odd sizes:
        at least 99.99 % of pixels alike, the others ties (onnxruntime, CPU); the light one as trained in --checkpoint,
        else with ImageNet's backbone and a head fitted in seconds, whose scores lie too close together for fp16
fp16    the same for fp16 graphs: at least 99.9 %
tail    benchmarks/tail.py at 1024x2048: at least 10 times faster and 20 times leaner than Resize + ArgMax in the graph
int8    --checkpoint exported with an int8 graph, all runtimes of this machine: one of them at least 3 times as fast as
        onnxruntime's fp32, its mIoU on --score within 0.5 points

export_parity.py says what weights the networks have. One line a part; the last line is JSON. Exit code 1 if any failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contest import machine
from export_parity import Subject, parity, subject, trained

from adaptseg_export.bench import measure
from adaptseg_export.cli import main as export
from adaptseg_export.options import BenchOptions

PARTS = ("parity", "fp16", "tail", "int8")
MIN_FASTER, MIN_LEANER = 10, 20
MIN_INT8_FASTER, MAX_INT8_LOSS = 3.0, 0.005


def main() -> int:
    options = _options()
    report: dict[str, Any] = {"benchmark": "export", **machine(), "parts": []}
    for part in _parts(options):
        report["parts"].append(part)
        print(f"{'pass' if part['passed'] else 'FAIL'}  {part['part']}: {part['said']}", flush=True)
    print(json.dumps(report))
    return 0 if all(part["passed"] for part in report["parts"]) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--backbones", nargs="*", default=["resnet101", "vgg16", "lite0"])
    parser.add_argument("--vgg-weights", default="", help="ImageNet weights of VGG-16; random where not given")
    parser.add_argument("--checkpoint", type=Path, help="a trained checkpoint or run, for the part int8")
    parser.add_argument("--calibrate", nargs=3, metavar=("DATASET", "ROOT", "SPLIT"))
    parser.add_argument("--score", nargs=3, metavar=("DATASET", "ROOT", "SPLIT"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    if options.checkpoint is not None and options.score is None:
        parser.error("--checkpoint needs --score DATASET ROOT SPLIT: int8 is judged by its mIoU.")
    return options


def _parts(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if "parity" in options.only or "fp16" in options.only:
        size = (options.size[0], options.size[1])
        own = None if options.checkpoint is None else trained(options.checkpoint, size)
        for backbone in options.backbones:
            if own is None or backbone != own.backbone:
                yield from _parities(subject(backbone, size, options.vgg_weights), options)
        if own is not None:
            yield from _parities(own, options)
    if "tail" in options.only:
        yield _tail(options.rounds)
    if "int8" in options.only and options.checkpoint is not None:
        yield _int8(options)


def _parities(of: Subject, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for part in ("parity", "fp16"):
        if part in options.only:
            found = parity(of, half=part == "fp16")
            of_pixels = f"{found['agreement']:.5%} of pixels, {found['needed']:.2%} wanted"
            said = f"{of.backbone} ({of.weights}): {of_pixels}; N, H, W, differing, ties: {found['shapes']}"
            yield {"part": part, "said": said, **found}


def _tail(rounds: int) -> dict[str, Any]:
    words = [sys.executable, str(Path(__file__).with_name("tail.py")), "--rounds", str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])["results"]["hard"]
    ours, dense = found["ours"], found["onnxruntime"]
    faster, leaner = dense["median_ms"] / ours["median_ms"], dense["peak_mb"] / ours["peak_mb"]
    wanted = faster >= MIN_FASTER and leaner >= MIN_LEANER and ours["wrong"] == 0
    said = f"{faster:.1f} x faster, {leaner:.0f} x less memory than Resize + ArgMax, {ours['wrong']} wrong pixels"
    return {"part": "tail", "said": said, "passed": wanted, "results": found}


def _int8(options: argparse.Namespace) -> dict[str, Any]:
    """Exported here, so that the runtimes see one graph; int8's own admission is part of the export."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        calibrate = ["--calibrate", *options.calibrate] if options.calibrate else []
        words = [str(options.checkpoint), str(bundle), "--precisions", "int8", "--score", *options.score, *calibrate]
        if export(words) != 0:
            return {"part": "int8", "said": "the export refused it", "passed": False}
        score = (options.score[0], Path(options.score[1]), options.score[2])
        rows = measure(BenchOptions(bundle, rounds=options.rounds, score=score))
    reference, *others = rows
    for row in others:
        row["faster"] = reference["p50_ms"] / row["p50_ms"]
        row["kept"] = row["miou"] >= reference["miou"] - MAX_INT8_LOSS
    lower = [row for row in others if "int8" in row["runtime"]]
    best = max((row for row in lower if row["kept"]), key=lambda row: row["faster"], default=None)
    each = "; ".join(f"{r['runtime']} {r['faster']:.2f} x, mIoU {r['miou']:.4f}" for r in lower)
    said = f"{each}; onnxruntime's fp32 has {reference['miou']:.4f}"
    return {
        "part": "int8",
        "said": said,
        "passed": best is not None and best["faster"] >= MIN_INT8_FASTER,
        "rows": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
