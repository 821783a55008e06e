"""heads.onnx: how sure a segmenter is, from its logits. A second graph, so that the first does not carry it.

The formulas are those of `adaptseg_serve.uncertainty`, whose kernels answer where a bundle has no such graph, and on
CPUs, where they are faster. What isn't fetched isn't computed.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
_FINITE = 1e30  # as in adaptseg_serve.uncertainty


def write_heads(path: Path, classes: int, align_corners: bool = True) -> None:
    """Write the checked graph for logits of `classes` classes; its ports are in docs/bundle-format.md."""
    scale = np.float32(1 / math.log(max(classes, 2)))
    constants: dict[str, NDArray[np.generic]] = {
        "lowest": np.array(-_FINITE, np.float32),
        "highest": np.array(_FINITE, np.float32),
        "scale": np.array(scale),
        "over_classes": np.array([1]),
        "over_grid": np.array([1, 2]),
        "over_pixels": np.array([2, 3]),
        "train_ids": np.arange(classes).reshape(1, classes, 1, 1),
    }
    nodes = [
        *_finite_and_upsampled(align_corners),
        *_figures("upsampled", "map"),
        helper.make_node("Identity", ["map_confidence"], ["confidence"]),
        helper.make_node("Identity", ["map_entropy"], ["entropy"]),
        *_figures("finite", "grid"),
        helper.make_node("ReduceMean", ["grid_entropy", "over_grid"], ["mean_entropy"], keepdims=0),
        helper.make_node("ArgMax", ["upsampled"], ["winner"], axis=1),
        helper.make_node("Equal", ["winner", "train_ids"], ["hits"]),
        helper.make_node("Cast", ["hits"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["counted", "over_pixels"], ["class_shares"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "heads",
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes, "h", "w"]),
            helper.make_tensor_value_info("size", TensorProto.INT64, [2]),
        ],
        [
            helper.make_tensor_value_info("confidence", TensorProto.FLOAT, ["N", "H", "W"]),
            helper.make_tensor_value_info("entropy", TensorProto.FLOAT, ["N", "H", "W"]),
            helper.make_tensor_value_info("mean_entropy", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("class_shares", TensorProto.FLOAT, ["N", classes]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))


def _finite_and_upsampled(align_corners: bool) -> list[onnx.NodeProto]:
    """logits -> `finite`, NaN the lowest -> `upsampled` (N, C, H, W)."""
    way = "align_corners" if align_corners else "half_pixel"
    return [
        helper.make_node("IsNaN", ["logits"], ["is_nan"]),
        helper.make_node("Where", ["is_nan", "lowest", "logits"], ["numbers"]),
        helper.make_node("Clip", ["numbers", "lowest", "highest"], ["finite"]),
        helper.make_node("Shape", ["logits"], ["batch_and_classes"], start=0, end=2),
        helper.make_node("Concat", ["batch_and_classes", "size"], ["full_size"], axis=0),
        helper.make_node(
            "Resize",
            ["finite", "", "", "full_size"],
            ["upsampled"],
            mode="linear",
            coordinate_transformation_mode=way,
        ),
    ]


def _figures(scores: str, prefix: str) -> list[onnx.NodeProto]:
    """`scores` (N, C, h, w) -> `prefix`_confidence, `prefix`_entropy (N, h, w); see `uncertainty._softmax_figures`."""

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        names = [name if name in ("over_classes", "scale", scores) else f"{prefix}_{name}" for name in inputs]
        return helper.make_node(kind, names, [f"{prefix}_{output}"], **attributes)

    return [
        node("ReduceMax", [scores, "over_classes"], "best", keepdims=1),
        node("Sub", [scores, "best"], "below"),
        node("Exp", ["below"], "parts"),
        node("ReduceSum", ["parts", "over_classes"], "total", keepdims=0),
        node("Reciprocal", ["total"], "confidence"),
        node("Mul", ["below", "parts"], "products"),
        node("ReduceSum", ["products", "over_classes"], "moment", keepdims=0),
        node("Log", ["total"], "log_total"),
        node("Mul", ["moment", "confidence"], "mean_score"),
        node("Sub", ["log_total", "mean_score"], "nats"),
        node("Mul", ["nats", "scale"], "entropy"),
    ]
