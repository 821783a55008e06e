"""heads.onnx in onnxruntime: confidence and entropy where the GPU is, instead of the CPU's kernels."""

from contextlib import nullcontext

import numpy as np
import onnxruntime as ort

from adaptseg_serve.bundle import HEADS, Bundle
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.predictor import Size
from adaptseg_serve.runtimes import cuda
from adaptseg_serve.runtimes.cut import cut
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_serve.runtimes.providers import CPU_PROVIDER, CUDA_PROVIDER
from adaptseg_serve.tail import Logits, check_logits
from adaptseg_serve.uncertainty import Uncertainty

_INPUTS = {"logits": "tensor(float)", "size": "tensor(int64)"}
_MAPS = ("confidence", "entropy")


class Heads:
    """A bundle's heads. Several threads may call it at once."""

    def __init__(self, bundle: Bundle, provider: str = CUDA_PROVIDER, threads: int = 1) -> None:
        """BundleError where the graph isn't what docs/bundle-format.md promises, ConfigError where the GPU won't."""
        self._alone = nullcontext() if provider == CPU_PROVIDER else cuda.recording
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        path, data = bundle.path / HEADS, read_graph(bundle, HEADS)
        try:
            self._session = ort.InferenceSession(cut(data, _MAPS), options, providers=[provider])
        except Exception as error:  # onnxruntime's own errors have no base class but this
            if provider != CPU_PROVIDER:
                raise ConfigError(f"onnxruntime can't start {provider} for {path} ({error}).") from error
            raise BundleError(f"{path}: onnxruntime can't load it ({error}). Export the checkpoint again.") from error
        found = {port.name: port.type for port in self._session.get_inputs()}
        if found != _INPUTS or {port.name for port in self._session.get_outputs()} != set(_MAPS):
            raise BundleError(f"{path}: its inputs and outputs aren't those of docs/bundle-format.md. Export it again.")

    def uncertainty(self, logits: Logits, size: Size) -> Uncertainty:
        """As `adaptseg_serve.uncertainty.uncertainty_from_logits`; `align_corners` is the graph's."""
        check_logits(logits, size)
        inputs = {"logits": np.asarray(logits, np.float32)[None], "size": np.array(size, np.int64)}
        with self._alone:
            confidence, entropy = self._session.run(list(_MAPS), inputs)
        return Uncertainty(confidence[0], entropy[0])
