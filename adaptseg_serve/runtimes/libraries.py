"""The libraries behind onnxruntime's GPU providers: pip puts them where the system's loader doesn't search."""

import contextlib
import io
import logging

import onnxruntime as ort

_log = logging.getLogger(__name__)


def load_cuda() -> None:
    """CUDA's and cuDNN's from pip, where they are installed; else the loader's own search must find them."""
    preload = getattr(ort, "preload_dlls", None)  # since onnxruntime 1.21
    if preload is None:
        return
    with contextlib.redirect_stdout(io.StringIO()) as said:  # it prints what is missing; our output may be JSON
        preload()
    if said.getvalue():
        _log.info("onnxruntime: %s", " ".join(said.getvalue().split()))


def load_tensorrt() -> str:
    """TensorRT's from pip; returns what is missing and how to mend it, "" where nothing is.

    onnxruntime's provider is linked to TensorRT 10, and the loader takes a library that is in the process already.
    """
    try:
        import tensorrt
    except ImportError:
        found = "tensorrt is not installed"
    else:
        if str(tensorrt.__version__).startswith("10."):
            return ""
        found = f"tensorrt {tensorrt.__version__} is installed"
    return f"It needs TensorRT 10 (libnvinfer.so.10), but {found}: pip install 'tensorrt>=10.4,<11'. "
