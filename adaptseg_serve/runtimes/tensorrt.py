"""TensorRT 10 and 11: a bundle's graph, cut at the logits and built once for this GPU; the sparse tail finishes.

Written against the documented API and not run (no GPU was at hand): `pytest -m gpu tests/test_tensorrt.py` runs it.
Networks are strongly typed, the only kind that TensorRT 11 has: precision is what the ONNX graph says, and bf16, which
no graph says, a builder flag of TensorRT 10. The logits of a frame are less than a megabyte.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from adaptseg_serve import tail
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.errors import BundleError, ConfigError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Scored, Size
from adaptseg_serve.runtimes import plan_cache
from adaptseg_serve.runtimes.cuda import Buffer, DeviceMemory, Recording, gpu_name
from adaptseg_serve.runtimes.graph import read_graph
from adaptseg_serve.runtimes.tensorrt_plan import (
    Arithmetic,
    BuildOptions,
    graph_and_flag,
    logits_graph,
    options_for,
    plan_key,
    summary,
)

_log = logging.getLogger(__name__)
_LOGGER = trt.Logger(trt.Logger.WARNING)


def load_plan(bundle: Bundle, arithmetic: Arithmetic, options: BuildOptions) -> bytes:
    """The plan for this GPU: from the machine's own cache, or built (minutes) and stored there with its report."""
    version = str(trt.__version__)
    name, flag = graph_and_flag(bundle, arithmetic, version)
    gpu = gpu_name()
    options = options_for(gpu, options)
    key = plan_key(str(bundle.manifest["files"][name]["sha256"]), gpu, version, arithmetic, options)
    plan = plan_cache.read(key.name)
    if plan is None:
        _log.info("building a TensorRT plan for %s (minutes, once on this machine)", gpu)
        plan = _build(logits_graph(read_graph(bundle, name)), options, flag, f"{gpu} {version}.timing")
        plan_cache.store(key.name, plan)
        report = inspect(_engine(plan))
        plan_cache.store(f"{key.name}.json", json.dumps(report, indent=1).encode())
        layers, memory = summary(report)
        _log.info("layers by precision: %s; %d MB a run", dict(layers), memory >> 20)
        if arithmetic != "fp32" and not layers[arithmetic]:
            _log.warning("no layer of the plan says that it computes in %s; see %s.json", arithmetic, key.name)
    return plan


def inspect(engine: Any) -> dict[str, Any]:
    """Layers with their precisions, and device memory in bytes: shows that the engine is what was asked for."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return {"layers": json.loads(text)["Layers"], "device_memory_bytes": engine.device_memory_size_v2}


def _build(graph: bytes, options: BuildOptions, flag: str, timing_name: str) -> bytes:
    """`flag`: a precision that TensorRT 10 may choose kernels of, in a weakly typed network; "": the graph's types."""
    builder = trt.Builder(_LOGGER)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(0 if flag else typed)
    parser = trt.OnnxParser(network, _LOGGER)
    if not parser.parse(graph):
        faults = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise BundleError(f"TensorRT {trt.__version__} can't parse the graph ({faults}). Choose onnxruntime-cuda.")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.progress_monitor = _Progress()
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if flag:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is fp32
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *((*shape, 3) for shape in options.profile))
    config.add_optimization_profile(profile)
    timing = config.create_timing_cache(plan_cache.read(timing_name) or b"")
    config.set_timing_cache(timing, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ConfigError("TensorRT built no engine; its own messages above say why. Choose onnxruntime-cuda.")
    plan_cache.store(timing_name, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


class _Progress(trt.IProgressMonitor):  # type: ignore[misc]  # tensorrt has no types
    """The builder's phases, to the log; never stops it."""

    def __init__(self) -> None:
        trt.IProgressMonitor.__init__(self)

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        if parent_phase is None:
            _log.info("TensorRT: %s (%d steps)", phase_name, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        return True

    def phase_finish(self, phase_name: str) -> None:
        _log.debug("TensorRT: %s done", phase_name)


def _engine(plan: bytes) -> Any:
    runtime = trt.Runtime(_LOGGER)
    runtime.engine_host_code_allowed = True  # what a version-compatible plan needs; ours come from our own cache only
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ConfigError("TensorRT can't load the cached plan. Empty the plan cache (ADAPTSEG_PLAN_CACHE), try again.")
    return engine


class TensorRtPredictor:
    """A plan of this machine behind `Predictor`; each new (N, H, W) is recorded once as a CUDA graph."""

    def __init__(self, bundle: Bundle, arithmetic: Arithmetic, options: BuildOptions) -> None:
        self._arithmetic = arithmetic
        self._max_batch = options.profile.max[0]
        self._align_corners = bool(bundle.manifest["baked"].get("align_corners", True))
        self._engine = _engine(load_plan(bundle, arithmetic, options))
        self._scratch = DeviceMemory(self._engine.device_memory_size_v2)
        """Of every context: they run one after the other, and each would take as much for itself."""
        self._runs: dict[tuple[int, ...], tuple[Buffer, Buffer, Recording, Any]] = {}
        tail.prepare()

    @property
    def runtime(self) -> str:
        return "tensorrt" if self._arithmetic == "fp32" else f"tensorrt-{self._arithmetic}"

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        """Label maps of (N, H, W, 3) uint8 RGB images at N (height, width) sizes; see `Predictor`."""
        return [scored.label_map for scored in self.predict_scored(images, sizes)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        """The same with the logits; see `Predictor`."""
        finish, align_corners, most = tail.label_map_from_logits, self._align_corners, self._max_batch
        logits = [one for start in range(0, len(images), most) for one in self._run(images[start : start + most])]
        return [
            Scored(finish(one, size, align_corners), one, align_corners)
            for one, size in zip(logits, sizes, strict=True)
        ]

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of as many images as the plan takes at once."""
        if images.shape not in self._runs:
            self._runs[images.shape] = self._record(images.shape)
        source, target, recording, _ = self._runs[images.shape]
        np.copyto(source.host, images)
        recording.run()
        return target.host.copy()

    def _record(self, shape: tuple[int, ...]) -> tuple[Buffer, Buffer, Recording, Any]:
        context = self._engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise ConfigError("TensorRT can't prepare a run; its own messages above say why. Check nvidia-smi.")
        context.set_device_memory(self._scratch.address, self._scratch.nbytes)
        if not context.set_input_shape("image", shape):
            raise ConfigError(f"this TensorRT plan has no profile for images of {shape}, only for the bundle's size.")
        target = Buffer(tuple(context.get_tensor_shape("logits")), trt.nptype(self._engine.get_tensor_dtype("logits")))
        source = Buffer(shape, np.uint8)
        context.set_tensor_address("image", source.address)
        context.set_tensor_address("logits", target.address)

        def enqueue(stream: int) -> None:
            source.upload(stream)
            if not context.execute_async_v3(stream):
                raise ConfigError("TensorRT could not run the plan; its own messages above say why.")
            target.download(stream)

        return source, target, Recording(enqueue), context
