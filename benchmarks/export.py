"""What an export is judged by: agreement with PyTorch, the tail, and int8's speed and mIoU, in one run.

    python benchmarks/export.py [--size 512 1024] [--backbones resnet101 vgg16 lite0] [--vgg-weights FILE]
                                [--bundle BUNDLE --score DATASET ROOT SPLIT] [--rounds 9]

1. Generators against their graphs (onnxruntime) at --size and at odd sizes: pixels that differ, ties among them.
   lite0 has its ImageNet weights, vgg16 those of --vgg-weights; resnet101 is random with batch norm's statistics
   taken from rendered streets, for without them its activations grow to 1e7. Heads are untrained: that is a harder
   test of fp32 than a trained head (more pixels lie near a tie), and says nothing about lower precisions.
2. benchmarks/tail.py at 1024x2048.
3. adaptseg-bench of --bundle, trained and exported with `--precisions fp16 int8`: int8 against onnxruntime's fp32.

The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from contest import machine
from torch import nn

from adaptseg_export.aspp import with_shifted_aspp
from adaptseg_export.bench import measure
from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_export.graph import write_graph
from adaptseg_export.options import BenchOptions
from adaptseg_export.parity import compare
from adaptseg_export.probes import street
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models import build_generator
from adaptseg_training.models.generator import preprocess_spec

ODD = ((1, 257, 383), (2, 129, 255))


def generator(backbone: str, vgg_weights: str) -> tuple[nn.Module, GeneratorConfig]:
    weights = {"lite0": "imagenet", "vgg16": vgg_weights or "none"}.get(backbone, "none")
    config = GeneratorConfig(backbone=backbone, weights=weights)
    torch.manual_seed(0)
    return build_generator(config, 19, aux=False), config


def settle_batch_norm(network: nn.Module, deployment: Deployment) -> None:
    """Statistics of two rendered streets, so that activations keep their size from layer to layer."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the forwards
        norm.training = True
    with torch.inference_mode():
        deployment(torch.from_numpy(street((2, 128, 256))))
    for norm in norms:
        norm.training = False


def parity(backbone: str, size: tuple[int, int], vgg_weights: str) -> dict[str, Any]:
    network, config = generator(backbone, vgg_weights)
    spec = preprocess_spec(config, size)
    deployment = Deployment(MainLevel(network), spec).eval()
    if backbone == "resnet101":
        settle_batch_norm(network, deployment)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        write_graph(Deployment(with_shifted_aspp(deployment.network), spec), model)
        found = compare(deployment, model, [("street", street(shape)) for shape in ((1, *size), *ODD)])
    return {
        "backbone": backbone,
        "weights": config.weights.rsplit("/", 1)[-1],
        "agreement": found.agreement,
        "passed": found.passed,
        "shapes": [[*c.shape, c.disagreeing, c.ties] for c in found.comparisons],
        "max_logit_difference": found.of_graph.max_logit_difference,
    }


def tail(rounds: int) -> Any:
    words = [sys.executable, str(Path(__file__).with_name("tail.py")), "--rounds", str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["results"]["hard"]


def bundle_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    score = options.score and (options.score[0], Path(options.score[1]), options.score[2])
    return measure(BenchOptions(options.bundle, rounds=options.rounds, score=score))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--backbones", nargs="*", default=["resnet101", "vgg16", "lite0"])
    parser.add_argument("--vgg-weights", default="", help="ImageNet weights of VGG-16; random where not given")
    parser.add_argument("--bundle", type=Path, help="a trained bundle with int8 and fp16 graphs")
    parser.add_argument("--score", nargs=3, metavar=("DATASET", "ROOT", "SPLIT"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-tail", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = {"benchmark": "export", **machine(), "parity": []}
    for backbone in options.backbones:
        row = parity(backbone, (options.size[0], options.size[1]), options.vgg_weights)
        report["parity"].append(row)
        print(f"{backbone}: {row['agreement']:.5%} of pixels; N, H, W, differing, ties: {row['shapes']}", flush=True)
    if not options.no_tail:
        report["tail"] = tail(options.rounds)
        ours, dense = report["tail"]["ours"], report["tail"]["onnxruntime"]
        faster, leaner = dense["median_ms"] / ours["median_ms"], dense["peak_mb"] / ours["peak_mb"]
        print(f"tail: {faster:.1f} x faster, {leaner:.0f} x less memory than Resize + ArgMax", flush=True)
    if options.bundle:
        report["bundle"] = bundle_rows(options)
        reference = report["bundle"][0]
        for row in report["bundle"]:
            faster, sure = reference["p50_ms"] / row["p50_ms"], row["sure_agreement"]
            print(f"{row['runtime']}: {faster:.2f} x onnxruntime-cpu, mIoU {row['miou']}, sure pixels alike {sure:.3%}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
