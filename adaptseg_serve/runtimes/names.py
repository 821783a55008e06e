"""What a runtime is called: in settings, on command lines, in reports."""

from typing import Literal, get_args

Runtime = Literal[
    "auto",
    "onnxruntime-cpu",
    "onnxruntime-cpu-fp16",
    "onnxruntime-cpu-int8",
    "onnxruntime-cuda",
    "onnxruntime-cuda-fp16",
    "onnxruntime-tensorrt-fp16",
    "openvino",
    "openvino-bf16",
    "openvino-int8",
    "tensorrt",
    "tensorrt-bf16",
    "tensorrt-fp16",
]
"""Library, device, and precision where it isn't fp32."""

RUNTIMES: tuple[str, ...] = get_args(Runtime)
