"""What runs a bundle's graph. A predictor is synchronous and knows nothing of requests."""

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.bundle import Bundle, Precision
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.runtimes.names import RUNTIMES
from adaptseg_serve.runtimes.wishes import NO_WISHES, EngineWishes
from adaptseg_serve.tail import Logits
from adaptseg_serve.uncertainty import Uncertainty, mean_entropy, uncertainty_from_logits

Size = tuple[int, int]
"""(height, width) in pixels."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A label map and the logits it was made from, for those who ask how sure it is."""

    label_map: LabelMap
    logits: Logits
    """(C, h, w) float at the network's own resolution; a view of the batch's."""
    align_corners: bool = True
    heads: Callable[[Logits, Size], Uncertainty] | None = None
    """What computes its uncertainty on a GPU; None: the CPU's kernels do."""

    def uncertainty(self) -> Uncertainty:
        """Confidence and entropy of the label map's pixels: tens of milliseconds, so not in the device's thread."""
        height, width = self.label_map.shape
        if self.heads is not None:
            return self.heads(self.logits, (height, width))
        return uncertainty_from_logits(self.logits, (height, width), self.align_corners)

    def mean_entropy(self) -> float:
        """0..1, about a millisecond; see `uncertainty.mean_entropy` for what it approximates."""
        return mean_entropy(self.logits)


class Predictor(Protocol):
    """A bundle's graph, loaded. One thread calls it at a time."""

    @property
    def runtime(self) -> str:
        """Name and device, for logs and answers: "onnxruntime-cpu", "openvino-cpu-bf16"."""
        ...

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """Label maps of a batch.

        images: (N, H, W, 3) uint8 RGB, 0..255, already at the size the network shall see.
        sizes: N (height, width): the size of each label map; scores are upsampled to it (align_corners) before
        argmax, so that a label map of another size than the image is as sharp as the scores allow.
        Returns N label maps, uint8 train ids.
        """
        ...

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        """The label maps of `predict`, bit for bit on the CPU, each with its logits. On a GPU it costs their copy."""
        ...


def load_predictor(
    bundle: Bundle, threads: int = 0, runtime: str = "auto", wishes: EngineWishes = NO_WISHES
) -> Predictor:
    """The predictor called `runtime`; `threads` 0: as many as the process may use. One log line says what was taken.

    "auto" is onnxruntime, on CUDA where it starts there and else on the CPU: always the same one on the same
    machine, and fp32, so that label maps stay those of the bundle's parity figures. What is faster but rounds
    (OpenVINO's bf16, int8, fp16) or must be built first (TensorRT) is taken only by name; adaptseg-bench compares.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}.")
    wanted: Sequence[str] = ("onnxruntime-cuda", "onnxruntime-cpu") if runtime == "auto" else (runtime,)
    for name in wanted:
        try:
            predictor = _load(bundle, threads, name, wishes)
        except ConfigError as error:
            if name == wanted[-1]:
                raise
            level = logging.WARNING if _is_for_cuda() else logging.INFO
            _log.log(level, "runtime %s is not for this machine: %s", name, error)
            continue
        _log.info("bundle %s %s runs on %s (asked for: %s)", bundle.name, bundle.version, predictor.runtime, runtime)
        return predictor
    raise AssertionError("unreachable: the last runtime returns or raises")


def is_on_gpu(runtime: str) -> bool:
    """Does a Predictor's `runtime` name a GPU's?"""
    return "cuda" in runtime or "tensorrt" in runtime


def warm_up(predictor: Predictor, size: Size, batches: Sequence[int] = (1,)) -> None:
    """Run black images of `size` in each batch size: allocations, kernel choices and compiled code are then there."""
    for batch in batches:
        predictor.predict(np.zeros((batch, *size, 3), np.uint8), [size] * batch)


def warm_up_to_serve(predictor: Predictor, size: Size, max_batch: int) -> None:
    """Call in the thread that will call the predictor: onnxruntime keeps the CUDA graphs that it records by thread.

    A GPU chooses kernels for each batch size, and each output of it is a recording of its own; a CPU does neither.
    """
    on_gpu = is_on_gpu(predictor.runtime)
    warm_up(predictor, size, range(1, max_batch + 1) if on_gpu else (1,))
    for batch in range(1, max_batch + 1) if on_gpu else ():
        predictor.predict_scored(np.zeros((batch, *size, 3), np.uint8), [size] * batch)


def _load(bundle: Bundle, threads: int, runtime: str, wishes: EngineWishes) -> Predictor:
    match runtime.split("-"):
        case ["onnxruntime", ("cpu" | "cuda" | "tensorrt") as device, *rest]:
            from adaptseg_serve.runtimes.onnxruntime import OnnxRuntimePredictor

            return OnnxRuntimePredictor(bundle, threads, device, _graph_precision(rest), wishes)
        case ["openvino", *rest]:
            _need("openvino", "OpenVINO")
            from adaptseg_serve.runtimes.openvino import OpenVinoPredictor

            hint: Literal["fp32", "bf16"] = "bf16" if rest == ["bf16"] else "fp32"
            return OpenVinoPredictor(bundle, threads, hint, "int8" if rest == ["int8"] else "fp32")
        case ["tensorrt", *rest]:
            _need("tensorrt", "TensorRT")
            from adaptseg_serve.runtimes.tensorrt import TensorRtPredictor
            from adaptseg_serve.runtimes.tensorrt_plan import build_options

            arithmetic: Literal["fp32", "fp16", "bf16"] = "fp32"
            if rest:
                arithmetic = "bf16" if rest == ["bf16"] else "fp16"
            return TensorRtPredictor(bundle, arithmetic, build_options(bundle, wishes))
        case _:
            raise AssertionError("unreachable: load_predictor knows the names")


def _is_for_cuda() -> bool:
    """Whether the installed onnxruntime is the one for GPUs: then someone expects that a GPU is used."""
    import onnxruntime

    from adaptseg_serve.runtimes.providers import CUDA_PROVIDER

    return CUDA_PROVIDER in onnxruntime.get_available_providers()


def _graph_precision(rest: list[str]) -> Precision:
    if rest == ["fp16"]:
        return "fp16"
    return "int8" if rest == ["int8"] else "fp32"


def _need(module: str, name: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"{name} is not installed. Install it, in the checkout: pip install -c constraints.txt '.[{module}]'"
        )
