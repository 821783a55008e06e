"""OpenVINO on the CPU: the graph is cut at the logits, and the sparse tail finishes."""

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from adaptseg_serve import tail
from adaptseg_serve.bundle import Bundle, Precision
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored, Size
from adaptseg_serve.runtimes.cpus import usable_cpus
from adaptseg_serve.runtimes.graph import Port, check_ports, read_graph

Arithmetic = Literal["fp32", "bf16"]

_HINTS = {"fp32": "f32", "bf16": "bf16"}
_DTYPES = {"u8": "uint8", "f32": "float32"}


class OpenVinoPredictor:
    """A bundle's graph in OpenVINO, ready for its first frame. `threads` 0: as many as the process may use.

    bf16 is faster where the processor has it and moves about 0.7 % of the pixels, nearly all of them doubtful ones.
    `precision` int8 runs the bundle's QDQ graph, what is not quantised in `arithmetic`.
    """

    def __init__(
        self, bundle: Bundle, threads: int = 0, arithmetic: Arithmetic = "fp32", precision: Precision = "fp32"
    ) -> None:
        self._precision = "int8" if precision == "int8" else arithmetic
        self._align_corners = bool(bundle.manifest["baked"].get("align_corners", True))
        self._request = _compile(bundle, threads or usable_cpus(), arithmetic, precision).create_infer_request()
        tail.prepare()

    @property
    def runtime(self) -> str:
        return "openvino-cpu" if self._precision == "fp32" else f"openvino-cpu-{self._precision}"

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """Label maps of (N, H, W, 3) uint8 RGB images at N (height, width) sizes; see `Predictor`."""
        return [scored.label_map for scored in self._scored(self._logits(images), sizes)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        """The same with the logits; see `Predictor`."""
        return self._scored(self._logits(images).copy(), sizes)  # the request writes its own buffer again

    def _scored(self, logits: NDArray[np.float32], sizes: Sequence[Size]) -> list[Scored]:
        finish, align_corners = tail.label_map_from_logits, self._align_corners
        return [
            Scored(finish(one, size, align_corners), one, align_corners)
            for one, size in zip(logits, sizes, strict=True)
        ]

    def _logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._request.infer({"image": images}, share_inputs=True, share_outputs=True)[
            "logits"
        ]
        return found


def _compile(bundle: Bundle, threads: int, arithmetic: Arithmetic, precision: Precision = "fp32") -> Any:
    core = ov.Core()
    has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if arithmetic.upper() not in has and arithmetic != "fp32":
        raise ConfigError(f"this processor has no {arithmetic} arithmetic, only {', '.join(has)}. Choose openvino.")
    data = read_graph(bundle, bundle.graph(precision))
    try:
        model = core.read_model(io.BytesIO(data))
        check_ports(bundle, {port.any_name: _port(port) for port in (*model.inputs, *model.outputs)})
        for result in model.get_results():
            if "logits" not in result.output(0).names | result.input_value(0).names:
                model.remove_result(result)
        # The hint must be said for fp32 too: OpenVINO takes bf16 by itself where the processor has it.
        hints = {"INFERENCE_PRECISION_HINT": _HINTS[arithmetic], "PERFORMANCE_HINT": "LATENCY"}
        return core.compile_model(model, "CPU", {**hints, "INFERENCE_NUM_THREADS": threads})
    except RuntimeError as error:
        raise BundleError(
            f"{bundle.model_path}: OpenVINO {ov.get_version()} can't load it ({error}). "
            "Choose onnxruntime-cpu, or export the checkpoint again with adaptseg-export."
        ) from error


def _port(port: Any) -> Port:
    shape = port.get_partial_shape()
    dims = tuple(n.get_length() if n.is_static else -1 for n in shape) if shape.rank.is_static else ()
    name = port.get_element_type().get_type_name()
    return Port(_DTYPES.get(name, name), dims)
