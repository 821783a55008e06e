"""onnxruntime, on the CPU (logits, then the sparse tail) or on CUDA (the graph's own dense tail)."""

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Size
from adaptseg_serve.tail import label_map_from_logits

Device = Literal["cpu", "cuda"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimePredictor:
    """A bundle's graph in onnxruntime. `threads` 0: as many as the process may use."""

    def __init__(self, bundle: Bundle, threads: int = 0, device: Device = "cpu") -> None:
        self._device = device
        self._align_corners = bool(bundle.manifest["baked"].get("align_corners", True))
        self._session = _session(bundle, threads, device)
        _check(self._session, bundle)
        self._input: str = self._session.get_inputs()[0].name
        self._options = ort.RunOptions()
        self._options.only_execute_path_to_fetches = True

    @property
    def runtime(self) -> str:
        return f"onnxruntime-{self._device}"

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """Label maps of (N, H, W, 3) uint8 RGB images at N (height, width) sizes; see `Predictor`."""
        if self._device == "cuda" and all(size == images.shape[1:3] for size in sizes):
            return list(self._run("label_map", images))
        logits = self._run("logits", images)
        return [label_map_from_logits(one, size, self._align_corners) for one, size in zip(logits, sizes, strict=True)]

    def _run(self, output: str, images: NDArray[np.uint8]) -> NDArray[Any]:
        """One output alone: only_execute_path_to_fetches leaves out every node that it doesn't need."""
        found: NDArray[Any] = self._session.run([output], {self._input: images}, self._options)[0]
        return found


def _session(bundle: Bundle, threads: int, device: Device) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    wanted = _PROVIDERS[device]
    if wanted not in ort.get_available_providers():
        raise ConfigError(f"onnxruntime has no {wanted} here; install the extra `gpu`, or choose another runtime.")
    try:
        session = ort.InferenceSession(bundle.model_path.read_bytes(), options, providers=[wanted])
    except Exception as error:
        # onnxruntime's errors share no base class but Exception.
        raise BundleError(
            f"{bundle.model_path}: onnxruntime can't load it ({error}). Export the checkpoint again."
        ) from error
    # A provider that fails to load leaves the CPU in its place and only a line in a log.
    if session.get_providers()[0] != wanted:
        raise ConfigError(f"onnxruntime fell back from {wanted} to {session.get_providers()[0]}.")
    return session


def _check(session: ort.InferenceSession, bundle: Bundle) -> None:
    """BundleError unless the graph has the inputs and outputs that docs/bundle-format.md promises."""
    found = {node.name: (node.type, len(node.shape)) for node in [*session.get_inputs(), *session.get_outputs()]}
    wanted = {"image": ("tensor(uint8)", 4), "label_map": ("tensor(uint8)", 3), "logits": ("tensor(float)", 4)}
    classes = next((node.shape[1] for node in session.get_outputs() if node.name == "logits"), None)
    if found != wanted or classes != len(bundle.labels):
        raise BundleError(
            f"{bundle.model_path}: the graph has {found} and {classes} classes, expected {wanted} and "
            f"{len(bundle.labels)} classes (docs/bundle-format.md). Export the checkpoint again with adaptseg-export."
        )
