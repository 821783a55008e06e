"""Runs of an onnxruntime session between fixed buffers: nothing is allocated, and a GPU may replay what it recorded."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.runtimes import cuda

Memory = Literal["cpu", "cuda"]

GRAPH_ID = "gpu_graph_id"
"""Key of onnxruntime's run options: each value is a CUDA graph of its own, recorded by its first run."""
NO_GRAPH = -1
MAX_GRAPHS = 32
"""Recordings that one session keeps: the service has one image size, and a batch has at most a few sizes."""


class Buffer(Protocol):
    """A tensor of fixed shape that the host sees as `host` and the session at `address`."""

    host: NDArray[Any]
    address: int

    def send(self) -> None:
        """Copy `host` to `address`, and wait."""

    def fetch(self) -> None:
        """Copy what is at `address` to `host`, and wait."""


class HostBuffer:
    """`address` is where `host` lies: there is nothing to copy."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.host: NDArray[Any] = np.empty(shape, dtype)
        self.address = int(self.host.ctypes.data)

    def send(self) -> None:
        pass

    def fetch(self) -> None:
        pass


class BoundRun:
    """One output of a session for images of one shape, bound once.

    On a GPU a run is: host array -> pinned buffer -> device -> the recorded kernels -> device -> pinned buffer.
    """

    def __init__(
        self, session: ort.InferenceSession, output: str, shape: tuple[int, ...], memory: Memory, graph: int = NO_GRAPH
    ) -> None:
        """`graph`: number of its CUDA graph, above 0 and the session's only one of that number; NO_GRAPH: none."""
        self._session, self._memory = session, memory
        self._source = _buffer(shape, np.uint8, memory)
        self._binding = session.io_binding()
        self._binding.bind_input("image", memory, 0, np.uint8, shape, self._source.address)
        found = self._first(output)
        dtype = np.float32 if found.data_type() == "tensor(float)" else np.uint8
        self._target = _buffer(tuple(found.shape()), dtype, memory)
        self._binding.clear_binding_outputs()
        self._binding.bind_output(output, memory, 0, dtype, self._target.host.shape, self._target.address)
        self._options = run_options(graph)
        self._alone: AbstractContextManager[object] = nullcontext()
        if graph != NO_GRAPH:
            with cuda.recording:
                session.run_with_iobinding(self._binding, self._options)
        elif memory == "cuda":
            self._alone = cuda.recording

    def run(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """The output for `images`, an array of its own."""
        np.copyto(self._source.host, images)
        self._source.send()
        with self._alone:
            self._session.run_with_iobinding(self._binding, self._options)
        self._target.fetch()
        return self._target.host.copy()

    def _first(self, output: str) -> Any:
        """A run unrecorded whose output onnxruntime allocates: that says the output's shape."""
        self._source.host[:] = 0
        self._source.send()
        self._binding.bind_output(output, self._memory, 0)
        try:
            self._session.run_with_iobinding(self._binding, run_options(NO_GRAPH))
        except Exception as error:  # onnxruntime's own errors have no base class but this
            raise ConfigError(
                f"onnxruntime can't run the graph for images of {self._source.host.shape} ({error}). "
                "Choose another runtime, or a smaller size or batch."
            ) from error
        return self._binding.get_outputs()[0]


class BoundRuns:
    """A session's runs, one for each output and shape of images; made when they are first asked for."""

    def __init__(self, session: ort.InferenceSession, memory: Memory, graphs: bool) -> None:
        """`graphs`: record CUDA graphs, which the session must have been made for (`enable_cuda_graph`)."""
        self._session, self._memory, self._graphs = session, memory, graphs
        self._runs: dict[tuple[str, tuple[int, ...]], BoundRun] = {}

    def run(self, output: str, images: NDArray[np.uint8]) -> NDArray[Any]:
        key = (output, images.shape)
        if key not in self._runs:
            graph = len(self._runs) + 1 if self._graphs and len(self._runs) < MAX_GRAPHS else NO_GRAPH
            self._runs[key] = BoundRun(self._session, output, images.shape, self._memory, graph)
        return self._runs[key].run(images)


def run_options(graph: int) -> ort.RunOptions:
    """Recorded as CUDA graph number `graph`."""
    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, str(graph))
    return options


def _buffer(shape: tuple[int, ...], dtype: DTypeLike, memory: Memory) -> Buffer:
    return HostBuffer(shape, dtype) if memory == "cpu" else cuda.Buffer(shape, dtype)
