"""onnxruntime: on the CPU the logits and then the sparse tail, on a GPU the graph's own dense tail."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from adaptseg_serve import tail
from adaptseg_serve.bundle import HEADS, Bundle, Precision
from adaptseg_serve.errors import AdaptSegError, BundleError, ConfigError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored, Size
from adaptseg_serve.runtimes import cuda, libraries
from adaptseg_serve.runtimes.binding import BoundRuns
from adaptseg_serve.runtimes.cpus import usable_cpus
from adaptseg_serve.runtimes.cut import cut
from adaptseg_serve.runtimes.graph import Port, check_ports, read_graph
from adaptseg_serve.runtimes.heads import Heads
from adaptseg_serve.runtimes.providers import CPU_PROVIDER, CUDA_GRAPH, CUDA_PROVIDER, Provider, providers_for
from adaptseg_serve.runtimes.wishes import NO_WISHES, EngineWishes

Device = Literal["cpu", "cuda", "tensorrt"]

_log = logging.getLogger(__name__)

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntimePredictor:
    """A bundle's graph in onnxruntime, ready for its first frame. `threads` 0: as many as the process may use."""

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        device: Device = "cpu",
        precision: Precision = "fp32",
        wishes: EngineWishes = NO_WISHES,
    ) -> None:
        self._device, self._precision = device, precision
        self._align_corners = bool(bundle.manifest["baked"].get("align_corners", True))
        self._session = _session(
            bundle, threads or usable_cpus(), providers_for(device, bundle, precision, wishes), precision, device
        )
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        check_ports(bundle, {port.name: _port(port) for port in ports}, _outputs(device))
        self._heads = Heads(bundle).uncertainty if device != "cpu" and HEADS in bundle.manifest["files"] else None
        self._bound = BoundRuns(self._session, "cuda", _records(self._session))
        tail.prepare()

    @property
    def runtime(self) -> str:
        return f"onnxruntime-{self._device}" + ("" if self._precision == "fp32" else f"-{self._precision}")

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """Label maps of (N, H, W, 3) uint8 RGB images at N (height, width) sizes; see `Predictor`.

        A GPU finishes in the graph where every label map has its image's size, for there the dense tail is
        nearly free; otherwise, and on the CPU, the logits come out and the sparse tail finishes.
        """
        if self._device != "cpu" and all(tuple(size) == images.shape[1:3] for size in sizes):
            return list(self._fetch("label_map", images))
        return [scored.label_map for scored in self.predict_scored(images, sizes)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        """The same with the logits; see `Predictor`."""
        finish, align_corners = tail.label_map_from_logits, self._align_corners
        logits = self._fetch("logits", images)
        return [
            Scored(finish(one, size, align_corners), one, align_corners, self._heads)
            for one, size in zip(logits, sizes, strict=True)
        ]

    def _fetch(self, output: str, images: NDArray[np.uint8]) -> NDArray[Any]:
        if self._device != "cpu":
            return self._bound.run(output, images)
        found: NDArray[Any] = self._session.run([output], {"image": images})[0]
        return found


def _session(
    bundle: Bundle, threads: int, chain: Sequence[Provider], precision: Precision, device: Device
) -> ort.InferenceSession:
    name, _ = chain[0]
    if name not in ort.get_available_providers():
        raise ConfigError(
            f"this onnxruntime has no {name}, only {', '.join(ort.get_available_providers())}. "
            "Install the extra `gpu` as pyproject.toml says, or choose another runtime."
        )
    missing = "" if device == "cpu" else _prepare_gpu(device)
    path = bundle.path / bundle.graph(precision)
    data = read_graph(bundle, path.name)
    try:
        session = _start(cut(data, _outputs(device)), threads, chain)
    except Exception as error:  # onnxruntime's own errors have no base class but this
        raise _refusal(path, name, missing, error) from error
    # A provider whose libraries are missing is replaced by the CPU with no more than a line in a log.
    if session.get_providers()[0] != name:
        raise ConfigError(
            f"onnxruntime could not start {name} and fell back to {session.get_providers()[0]}. {missing}"
            "Check the CUDA and cuDNN libraries (`nvidia-smi`, docs of onnxruntime-gpu), or choose the CPU."
        )
    return session


def _prepare_gpu(device: Device) -> str:
    """ConfigError where there is no GPU; returns which library is missing and how to mend it, or ""."""
    cuda.check_device()
    libraries.load_cuda()
    return libraries.load_tensorrt() if device == "tensorrt" else ""


def _refusal(path: Path, provider: str, missing: str, error: Exception) -> AdaptSegError:
    """A GPU may be too old, busy or full, which is no fault of the bundle; on the CPU it can only be the graph's."""
    if provider != CPU_PROVIDER:
        return ConfigError(
            f"onnxruntime {ort.__version__} can't start {provider} for {path} ({error}). {missing}"
            "Check the driver and the free memory with nvidia-smi, or choose the CPU."
        )
    return BundleError(
        f"{path}: onnxruntime {ort.__version__} can't load it ({error}). "
        "Export the checkpoint again with adaptseg-export, or install a newer onnxruntime."
    )


def _start(data: bytes, threads: int, chain: Sequence[Provider]) -> ort.InferenceSession:
    """A session; without CUDA graphs where the graph can't be recorded, since some of its nodes are not for the GPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(data, options, providers=list(chain), enable_fallback=0)
    except Exception as error:
        if "graph capture" not in str(error):
            raise
        plain = [(name, {key: value for key, value in told.items() if key != CUDA_GRAPH}) for name, told in chain]
        _log.warning("onnxruntime refuses CUDA graphs for this graph, every run is launched anew (%s)", error)
        return ort.InferenceSession(data, options, providers=plain, enable_fallback=0)


def _outputs(device: Device) -> tuple[str, ...]:
    """On the CPU the dense tail would cost more than a light network's last layers; on a GPU it is nearly free."""
    return ("logits",) if device == "cpu" else ("label_map", "logits")


def _records(session: ort.InferenceSession) -> bool:
    """Whether the session was made to record CUDA graphs."""
    told = session.get_provider_options().get(CUDA_PROVIDER, {})
    return bool(session.get_providers()[0] == CUDA_PROVIDER and told.get(CUDA_GRAPH) == "1")


def _port(node: Any) -> Port:
    """`shape` has names or None where dimensions are dynamic."""
    return Port(_DTYPES.get(node.type, node.type), tuple(n if isinstance(n, int) else -1 for n in node.shape))
