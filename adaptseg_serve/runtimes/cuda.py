"""Buffers on a GPU and pinned ones on the host, and a recorded run between them. Not run on a machine without CUDA."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from adaptseg_serve.errors import ConfigError

_DEFAULT_STREAM = 0

recording = threading.Lock()
"""Held while onnxruntime records a run, and by the runs of other threads that may allocate memory.

It records in CUDA's global mode: an allocation by any thread meanwhile fails, and the recording with it.
"""


def runtime() -> Any:
    """The module cuda.bindings.runtime; ConfigError where it is missing."""
    try:
        from cuda.bindings import runtime as cuda_runtime
    except ImportError as error:
        raise ConfigError(f"the CUDA runtime can't be used ({error}). Install it: pip install cuda-bindings") from error
    return cuda_runtime


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function`'s result without its status; ConfigError names the CUDA error."""
    status, *results = function(*arguments)
    if int(status) != 0:
        raise ConfigError(f"CUDA: {function.__name__} failed with {status.name}. Check the driver with nvidia-smi.")
    return results[0] if len(results) == 1 else tuple(results)


def check_device() -> None:
    """ConfigError unless the CUDA runtime is installed and finds a GPU."""
    if call(runtime().cudaGetDeviceCount) == 0:
        raise ConfigError("CUDA finds no GPU. Check nvidia-smi and CUDA_VISIBLE_DEVICES.")


def gpu_name() -> str:
    """Name and compute capability of GPU 0: "NVIDIA H200 9.0"."""
    found = call(runtime().cudaGetDeviceProperties, 0)
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    return f"{name.rstrip(chr(0))} {found.major}.{found.minor}"


class DeviceMemory:
    """`nbytes` on the device at `address`; freed with the object."""

    def __init__(self, nbytes: int) -> None:
        cuda = runtime()
        self.nbytes = nbytes
        self.address = int(call(cuda.cudaMalloc, max(1, nbytes)))
        _when_gone(self, cuda.cudaFree, self.address)


class Buffer:
    """One tensor, twice: pinned on the host as a NumPy array, and on the device at `address`.

    Freed with the object, so `host` must not outlive it: hand out copies.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cuda = runtime()
        self.nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._pinned = int(call(self._cuda.cudaMallocHost, self.nbytes))
        _when_gone(self, self._cuda.cudaFreeHost, self._pinned)
        self._device = DeviceMemory(self.nbytes)
        self.address = self._device.address
        view = memoryview((_bytes_type(self.nbytes)).from_address(self._pinned))
        self.host: NDArray[Any] = np.frombuffer(view, dtype).reshape(shape)

    def upload(self, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        call(self._cuda.cudaMemcpyAsync, self.address, self._pinned, self.nbytes, kind, stream)

    def download(self, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self._cuda.cudaMemcpyAsync, self._pinned, self.address, self.nbytes, kind, stream)

    def send(self) -> None:
        """Upload and wait."""
        self.upload(_DEFAULT_STREAM)
        call(self._cuda.cudaStreamSynchronize, _DEFAULT_STREAM)

    def fetch(self) -> None:
        """Download and wait."""
        self.download(_DEFAULT_STREAM)
        call(self._cuda.cudaStreamSynchronize, _DEFAULT_STREAM)


class Recording:
    """A CUDA graph: what `enqueue(stream)` puts on a stream, recorded once and launched as one piece of work."""

    def __init__(self, enqueue: Callable[[int], None]) -> None:
        self._cuda = runtime()
        stream = call(self._cuda.cudaStreamCreate)
        self._stream = int(stream)
        _when_gone(self, self._cuda.cudaStreamDestroy, stream)
        enqueue(self._stream)  # once outside: allocations and lazy loading can't be recorded
        call(self._cuda.cudaStreamSynchronize, self._stream)
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(self._cuda.cudaStreamBeginCapture, self._stream, mode)
        enqueue(self._stream)
        recorded = call(self._cuda.cudaStreamEndCapture, self._stream)
        self._graph = call(self._cuda.cudaGraphInstantiate, recorded, 0)
        call(self._cuda.cudaGraphDestroy, recorded)
        _when_gone(self, self._cuda.cudaGraphExecDestroy, self._graph)

    def run(self) -> None:
        """Launch and wait."""
        call(self._cuda.cudaGraphLaunch, self._graph, self._stream)
        call(self._cuda.cudaStreamSynchronize, self._stream)


def _when_gone(owner: object, free: Callable[[Any], Any], resource: Any) -> None:
    """Call `free(resource)` when `owner` is collected, newest first; a process that ends frees everything itself."""
    weakref.finalize(owner, free, resource).atexit = False


def _bytes_type(count: int) -> Any:
    import ctypes

    return ctypes.c_ubyte * count
