"""What this machine has of a GPU: onnxruntime lists its providers, and TensorRT is installed, where there is none."""

from importlib.util import find_spec

import onnxruntime as ort
import pytest

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.runtimes import cuda
from adaptseg_serve.runtimes.providers import CUDA_PROVIDER, TENSORRT_PROVIDER


def has_gpu() -> bool:
    try:
        cuda.check_device()
    except ConfigError:
        return False
    return True


def tensorrt_release() -> int:
    """Major version of TensorRT; 0: none. Importing it takes its time, so only where it can be used."""
    if not HAS_GPU or find_spec("tensorrt") is None:
        return 0
    import tensorrt

    return int(tensorrt.__version__.split(".")[0])


HAS_GPU = has_gpu()
PROVIDERS = set(ort.get_available_providers()) if HAS_GPU else set()

needs_cuda = pytest.mark.skipif(CUDA_PROVIDER not in PROVIDERS, reason="needs onnxruntime-gpu and a GPU")
needs_onnxruntimes_tensorrt = pytest.mark.skipif(
    TENSORRT_PROVIDER not in PROVIDERS or tensorrt_release() != 10,
    reason="needs onnxruntime-gpu, TensorRT 10 and a GPU",
)
needs_tensorrt = pytest.mark.skipif(tensorrt_release() not in (10, 11), reason="needs TensorRT 10 or 11 and a GPU")
