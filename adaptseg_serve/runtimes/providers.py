"""What onnxruntime's providers are told. Option names are checked against the GPU wheel's in tests/data."""

from collections.abc import Mapping
from typing import NamedTuple

from adaptseg_serve.bundle import Bundle, Precision
from adaptseg_serve.runtimes.plan_cache import cache_folder
from adaptseg_serve.runtimes.wishes import NO_WISHES, EngineWishes

CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
CUDA_GRAPH = "enable_cuda_graph"
WORKSPACE_BYTES = 4 << 30

Provider = tuple[str, Mapping[str, str]]
"""Name and options; every value is text, as onnxruntime wants it."""


class Profile(NamedTuple):
    """(N, H, W) of the images that a TensorRT engine is built for: it runs min..max, and `opt` fastest."""

    min: tuple[int, int, int]
    opt: tuple[int, int, int]
    max: tuple[int, int, int]


def profile_of(bundle: Bundle, max_batch: int) -> Profile:
    """One to `max_batch` images of the bundle's input size, fastest for one: whoever asks resizes to that size first.

    Engines take memory for the largest of their profile.
    """
    height, width = bundle.preprocess.size
    return Profile((1, height, width), (1, height, width), (max_batch, height, width))


def providers_for(
    device: str, bundle: Bundle, precision: Precision, wishes: EngineWishes = NO_WISHES
) -> list[Provider]:
    """Providers of `device` for `bundle`'s `precision` graph, the first choice first."""
    if device == "cpu":
        return [(CPU_PROVIDER, {})]
    if device == "cuda":
        return [(CUDA_PROVIDER, {**_cuda(), CUDA_GRAPH: "1"})]
    # What TensorRT doesn't know stays on the GPU. No CUDA graphs: they ask for a graph that is TensorRT's altogether.
    return [(TENSORRT_PROVIDER, _tensorrt(bundle, precision, wishes)), (CUDA_PROVIDER, _cuda())]


def _cuda() -> dict[str, str]:
    """Kernels chosen by measuring once per shape, enough workspace for cuDNN's fastest, fp32 that is fp32 (no TF32).

    The arena grows by what is asked for, not to the next power of two: shapes are few and stay.
    """
    return {
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "cudnn_conv_use_max_workspace": "1",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }


def _tensorrt(bundle: Bundle, precision: Precision, wishes: EngineWishes) -> dict[str, str]:
    """Engines and timings in this machine's own cache, a folder for each graph, since engines are code.

    onnxruntime builds weakly typed networks: without its flag an fp16 graph would become an fp32 engine.
    Engines for later releases are no option of its.
    """
    digest = bundle.manifest["files"][bundle.graph(precision)]["sha256"]
    folder = str(cache_folder(f"onnxruntime-{digest[:20]}"))
    shapes = profile_of(bundle, wishes.max_batch)._asdict().items()
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_max_workspace_size": str(WORKSPACE_BYTES),
        "trt_fp16_enable": str(int(precision == "fp16")),
        "trt_int8_enable": str(int(precision == "int8")),
        "trt_engine_hw_compatible": str(int(wishes.hardware_compatible)),
        **{f"trt_profile_{limit}_shapes": "image:" + "x".join(map(str, (*shape, 3))) for limit, shape in shapes},
    }
