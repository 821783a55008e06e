"""PyTorch's two ONNX exporters on the same network: size, nodes, names, parity and speed of their graphs.

    python benchmarks/exporters.py [--backbones lite0 vgg16] [--size 256 512] [--rounds 9]

dynamo is what adaptseg-export uses; the other one traces with TorchScript (`dynamo=False`). Networks are random but
for lite0 (ImageNet). Both graphs are run at --size and at an odd size that neither was traced at; times are those of
the logits, one thread, the two in turns. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from contest import machine, take_turns
from numpy.typing import NDArray

from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_export.graph import OPSET, write_graph
from adaptseg_export.parity import compare
from adaptseg_export.probes import street
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models import build_generator
from adaptseg_training.models.generator import preprocess_spec

ODD = (1, 129, 255)


def write_traced(deployment: Deployment, path: Path) -> None:
    """The older exporter's graph, with the same inputs, outputs, opset and dynamic dimensions as `write_graph`'s."""
    axes = {
        "image": {0: "N", 1: "H", 2: "W"},
        "label_map": {0: "N", 1: "H", 2: "W"},
        "logits": {0: "N", 2: "h", 3: "w"},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployment.eval(),
            (torch.zeros(2, 96, 128, 3, dtype=torch.uint8),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["label_map", "logits"],
            dynamic_axes=axes,
        )
    onnx.checker.check_model(str(path), full_check=True)


WRITERS: dict[str, Callable[[Deployment, Path], None]] = {"dynamo": write_graph, "torchscript": write_traced}


def describe(path: Path, scratch: Path) -> dict[str, Any]:
    """What is in the file, and what onnxruntime leaves of it."""
    graph = onnx.load(path).graph
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(scratch / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in graph.node)
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    return {
        "mb": round(path.stat().st_size / 1e6, 2),
        "nodes": len(graph.node),
        "kinds": dict(kinds.most_common()),
        "nodes_in_onnxruntime": len(onnx.load(scratch / "optimised.onnx").graph.node),
        "names": [convolutions[0], convolutions[-1]],
        "weight_names": [node.input[1] for node in graph.node if node.op_type == "Conv"][:: len(convolutions) - 1],
    }


def runner(path: Path, images: NDArray[np.uint8]) -> Callable[[], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["logits"], {"image": images})


def contest(backbone: str, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    config = GeneratorConfig(backbone=backbone, weights="imagenet" if backbone == "lite0" else "none")
    torch.manual_seed(0)
    network = build_generator(config, 19, aux=False)
    deployment = Deployment(MainLevel(network), preprocess_spec(config, size)).eval()
    images = street((1, *size))
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ways = {}
        for name, write in WRITERS.items():
            path = scratch / f"{name}.onnx"
            start = time.perf_counter()
            write(deployment, path)
            seconds = time.perf_counter() - start
            found = compare(deployment, path, [("street", images), ("odd", street(ODD))])
            rows[name] = {"export_s": round(seconds, 1), **describe(path, scratch), "agreement": found.agreement}
            rows[name]["max_logit_difference"] = found.of_graph.max_logit_difference
            ways[name] = runner(path, images)
        for name, times in take_turns(ways, rounds).items():
            rows[name] |= times
    return {"backbone": backbone, "size": list(size), "exporters": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="*", default=["lite0", "vgg16"])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    report: dict[str, Any] = {"benchmark": "exporters", **machine(), "torch": torch.__version__, "contests": []}
    for backbone in options.backbones:
        found = contest(backbone, (options.size[0], options.size[1]), options.rounds)
        report["contests"].append(found)
        for name, row in found["exporters"].items():
            print(f"{backbone} {name}: {json.dumps(row)}", flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
