"""A real bundle in milliseconds and without torch: one 8x8 convolution of stride 8, fixed random weights.

Its label maps vary with the image, so that a test that mixes up images, sizes or channels fails.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.labels import CITYSCAPES, LabelSet
from adaptseg_serve.preprocess import PreprocessSpec

STRIDE = 8


def write_tiny_bundle(
    folder: Path, size: tuple[int, int] = (48, 64), labels: LabelSet = CITYSCAPES, seed: int = 0, name: str = "tiny"
) -> Path:
    """Write the bundle to `folder` (which must not exist) and return it."""
    spec = PreprocessSpec(size, mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 57.0))
    scratch = folder.with_name(f"{folder.name}.onnx")
    onnx.save(_model(spec, len(labels), seed), str(scratch))
    write_bundle(folder, scratch, Record(name=name, preprocess=spec, labels=labels))
    scratch.unlink()
    return folder


def _model(spec: PreprocessSpec, classes: int, seed: int) -> onnx.ModelProto:
    weight = np.random.default_rng(seed).normal(size=(classes, 3, STRIDE, STRIDE)).astype(np.float32)
    constants = {
        "mean": np.array(spec.mean, np.float32).reshape(1, 3, 1, 1),
        "std": np.array(spec.std, np.float32).reshape(1, 3, 1, 1),
        "weight": weight / STRIDE,
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["nchw"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node("Conv", ["normalised", "weight"], ["logits"], strides=[STRIDE, STRIDE]),
        helper.make_node("Shape", ["nchw"], ["hw"], start=2, end=4),
        helper.make_node("Shape", ["logits"], ["nc"], start=0, end=2),
        helper.make_node("Concat", ["nc", "hw"], ["full_size"], axis=0),
        helper.make_node(
            "Resize",
            ["logits", "", "", "full_size"],
            ["upsampled"],
            mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
        helper.make_node("ArgMax", ["upsampled"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["label_map"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("label_map", TensorProto.UINT8, ["N", "H", "W"]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes, "h", "w"]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model
