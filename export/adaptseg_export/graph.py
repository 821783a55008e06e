"""PyTorch -> ONNX: one graph, opset 18, no external data, dynamic N, H and W."""

import contextlib
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from adaptseg_export.checks import LEAST_SIDE, MOST_SIDE
from adaptseg_export.deployment import Deployment
from adaptseg_serve.runtimes.tensorrt_plan import let_only_cast_read_pixels

OPSET = 18
_LARGE = 1024
"""Weights of fewer elements (biases, mean, std) stay fp32: they cost nothing."""


def write_graph(deployment: Deployment, path: Path, *, half_weights: bool = False) -> None:
    """Trace `deployment` and write a checked ONNX file to `path`; `half_weights` stores large weights as fp16."""
    # Batch 2: a dimension of 1 would be taken for a constant. eval() on the wrapper, or its children train.
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    dims = {
        0: torch.export.Dim("N", min=1, max=256),
        1: torch.export.Dim("H", min=LEAST_SIDE, max=MOST_SIDE),
        2: torch.export.Dim("W", min=LEAST_SIDE, max=MOST_SIDE),
    }
    with _quiet():
        program = torch.onnx.export(
            deployment.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes={"image": dims},
            input_names=["image"],
            output_names=["label_map", "logits"],
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    _strip_traces(model)
    _name_after_weights(model.graph)
    let_only_cast_read_pixels(model.graph)
    if half_weights:
        _store_half(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path), save_as_external_data=False)


def _strip_traces(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: Python stack traces that would publish paths of the exporting machine."""
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    for holders in (graph.input, graph.output, graph.initializer, graph.value_info):
        for holder in holders:
            del holder.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def _name_after_weights(graph: onnx.GraphProto) -> None:
    """Name each convolution after the module it was, `backbone.blocks.1.0.conv_pw`, where weight names still say it."""
    modules = Counter(_module(node) for node in graph.node)
    for node in graph.node:
        module = _module(node)
        if module and modules[module] == 1:
            node.name = module


def _module(node: onnx.NodeProto) -> str:
    """`network.generator.x.weight`, the weight of a convolution -> `x`; empty where there is no such name."""
    weight = node.input[1] if node.op_type == "Conv" else ""
    return weight.removesuffix(".weight").rpartition("generator.")[2] if weight.endswith(".weight") else ""


def _store_half(graph: onnx.GraphProto) -> None:
    """Store float32 weights of a few KB and more as fp16 behind a Cast, which runtimes fold away on loading."""
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or math.prod(weight.dims) < _LARGE:
            continue
        name = weight.name
        half = numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own internals; what matters is checked afterwards, by running the graph."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
