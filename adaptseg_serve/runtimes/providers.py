"""What onnxruntime's GPU providers are told."""

from collections.abc import Mapping

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.runtimes.plan_cache import cache_folder

MAX_BATCH = 8
"""Largest batch that a TensorRT profile covers: what the service takes by default."""


def provider_options(device: str, bundle: Bundle) -> Mapping[str, str]:
    """Options of provider `device` for `bundle`'s graph; every value is text, as onnxruntime wants it.

    cuda: kernels chosen by measuring once per shape, enough workspace for cuDNN's fastest, fp32 that is fp32 (no
    TF32). tensorrt: engine and timing caches of this machine, and a profile from one image to MAX_BATCH.
    """
    if device == "cuda":
        return {"cudnn_conv_algo_search": "EXHAUSTIVE", "cudnn_conv_use_max_workspace": "1", "use_tf32": "0"}
    if device != "tensorrt":
        return {}
    height, width = bundle.preprocess.size
    folder = str(cache_folder())
    shapes = {
        limit: f"image:{batch}x{height}x{width}x3" for limit, batch in (("min", 1), ("opt", 1), ("max", MAX_BATCH))
    }
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        **{f"trt_profile_{limit}_shapes": shape for limit, shape in shapes.items()},
    }
