"""Graphs of lower precision: static int8 from the fp32 graph, and fp16 arithmetic for GPUs."""

import contextlib
import copy
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from adaptseg_export.deployment import Deployment
from adaptseg_serve.preprocess import PreprocessSpec

Frames = list[NDArray[np.uint8]]
"""(1, H, W, 3) uint8 RGB each, at the network's input size."""

_QUANTISED = ("Conv", "Clip", "Relu", "Add", "MaxPool")
"""What computes in int8. Normalisation, Resize and ArgMax stay fp32."""


class HalfDeployment(Deployment):
    """As `Deployment`, the network in fp16; normalisation, upsampling and the logits' output stay fp32.

    Batch norm is folded into the convolutions before they are rounded: many of the light generator's weights are
    so small that fp16 holds them with few bits, until their norm's factor is in them.

    For GPUs, hence Cast before Transpose: TensorRT takes uint8 at inputs and outputs only, and only to and from
    floats, so argmax's integers become floats before they become bytes.
    """

    def __init__(self, network: nn.Module, spec: PreprocessSpec) -> None:
        super().__init__(with_folded_norms(network).half(), spec)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image: (N, H, W, 3) uint8 RGB -> label_map (N, H, W) uint8, logits (N, C, h, w) float32."""
        pixels = image.to(torch.float32).permute(0, 3, 1, 2)
        if self.bgr:
            pixels = pixels.flip(1)
        logits = self.network(((pixels - self.mean) / self.std).half()).float()
        scores = functional.interpolate(logits, size=image.shape[1:3], mode="bilinear", align_corners=True)
        return scores.argmax(1).to(torch.float32).to(torch.uint8), logits


def with_folded_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode in which each batch norm that directly follows a convolution is part of it."""
    copied = copy.deepcopy(network).eval()
    for parent in copied.modules():
        before: tuple[str, nn.Module] = ("", parent)
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, getattr(child, "act", nn.Identity()))  # timm's norms hold the activation
            before = (name, child)
    return copied


def write_int8(graph: Path, path: Path, frames: Frames) -> None:
    """Quantise the fp32 `graph` statically by `frames` and write it to `path`: QDQ, activations uint8, weights int8
    per channel. (Both int8, symmetric, is 2.5 times slower in onnxruntime on the CPU.)"""
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        raw = Path(scratch) / "int8.onnx"
        quantize_static(
            str(graph),
            str(raw),
            _Frames(frames),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(str(raw))
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path), save_as_external_data=False)


class _Frames(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, frames: Frames) -> None:
        self._frames = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        frame = next(self._frames, None)
        return None if frame is None else {"image": frame}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises a step of preparation that the exporter has done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
