"""What a TensorRT plan is made from and what it says of itself, as far as that needs no TensorRT."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.runtimes.plan_cache import PlanKey
from adaptseg_serve.runtimes.providers import WORKSPACE_BYTES, Profile, profile_of
from adaptseg_serve.runtimes.wishes import NO_WISHES, EngineWishes

Arithmetic = Literal["fp32", "fp16", "bf16"]
"""How the plan computes. No int8: the bundle's QDQ graph has uint8 activations with zero points, which TensorRT takes
on no GPU; no fp8: no release of the exporter writes such a graph."""

_TYPES = {"fp16": r"half|fp16", "bf16": r"bf16|bfloat16", "fp8": r"fp8", "int8": r"int8", "fp32": r"float|fp32"}


@dataclass(frozen=True)
class BuildOptions:
    """What a plan is built for."""

    profile: Profile
    workspace_bytes: int = WORKSPACE_BYTES
    version_compatible: bool = False
    """The plan also loads in later TensorRT releases of the same major version; a little slower."""
    hardware_compatible: bool = False
    """The plan also runs on other GPUs, Ampere and newer; a little slower."""


def build_options(bundle: Bundle, wishes: EngineWishes = NO_WISHES) -> BuildOptions:
    """For the service: the profile that onnxruntime's TensorRT gets, too."""
    return BuildOptions(
        profile_of(bundle, wishes.max_batch),
        version_compatible=wishes.version_compatible,
        hardware_compatible=wishes.hardware_compatible,
    )


def options_for(gpu: str, options: BuildOptions) -> BuildOptions:
    """`options` as far as `gpu` can have them: what fits Ampere and newer can't be built on what is older.

    gpu: name and compute capability, "NVIDIA H200 9.0".
    """
    ampere = float(gpu.rsplit(" ", 1)[-1]) >= 8.0
    return replace(options, hardware_compatible=options.hardware_compatible and ampere)


def plan_key(sha256: str, gpu: str, version: str, arithmetic: str, options: BuildOptions) -> PlanKey:
    """The name of a plan in the cache; a plan that was built to be compatible is found where it fits.

    gpu: as `options_for` takes it; version: TensorRT's, "11.4.0"; options: what `options_for` left of them.
    """
    if options.hardware_compatible:
        gpu = "Ampere and newer"
    if options.version_compatible:
        version = version.split(".")[0]
    return PlanKey(sha256, gpu, version, arithmetic, repr(options))


def graph_and_flag(bundle: Bundle, arithmetic: Arithmetic, version: str) -> tuple[str, str]:
    """File name of the graph to build from, and the builder flag that it needs beside; "" where its own types rule.

    TensorRT 11 has only networks whose precision is the graph's. 10 could choose kernels by flag, the only way to bf16.
    """
    if arithmetic != "bf16":
        return bundle.graph(arithmetic), ""
    if int(version.split(".")[0]) > 10:
        raise ConfigError(
            f"TensorRT {version} computes in the graph's own precision, and a bundle has no bf16 graph. "
            "Choose tensorrt-fp16, or TensorRT 10."
        )
    return bundle.graph("fp32"), "BF16"


def logits_graph(graph: bytes) -> bytes:
    """The part of a bundle's graph from `image` to `logits`, its pixels cast before they are moved.

    TensorRT takes bytes at inputs only, to cast them; and its argmax is a slow TopK.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"TensorRT's graph can't be cut ({error}). Install it: pip install onnx") from error
    model = onnx.utils.Extractor(onnx.load_model_from_string(graph)).extract_model(["image"], ["logits"])
    nodes = model.graph.node
    for moved in [node for node in nodes if node.op_type == "Transpose" and node.input[0] == "image"]:
        for cast in [node for node in nodes if node.op_type == "Cast" and node.input[0] == moved.output[0]]:
            between, after = f"{cast.output[0]}_nhwc", cast.output[0]
            cast.input[0], cast.output[0] = "image", between
            moved.input[0], moved.output[0] = between, after
            at = list(nodes).index(moved)
            nodes.remove(cast)
            nodes.insert(at, cast)
            break
    let_only_cast_read_pixels(model.graph)
    del model.graph.value_info[:]
    data: bytes = model.SerializeToString()
    return data


def let_only_cast_read_pixels(graph: Any) -> None:
    """Where a Cast reads `image`, ask its floats for their shape: TensorRT takes bytes to cast them and for no more.

    graph: an onnx.GraphProto; one that moves the bytes first stays as it is.
    """
    for cast in [node for node in graph.node if node.op_type == "Cast" and node.input[0] == "image"][:1]:
        graph.node.remove(cast)
        graph.node.insert(0, cast)
        for shape in [node for node in graph.node if node.op_type == "Shape" and node.input[0] == "image"]:
            shape.input[0] = cast.output[0]


def summary(report: Mapping[str, Any]) -> tuple[Counter[str], int]:
    """How many layers give each precision, and how many bytes of device memory a run takes.

    `report`: `layers` as the engine inspector's JSON has them (10.x says type and format in one field, 11 in two; names
    only where the plan wasn't built with details), and `device_memory_bytes`.
    """
    return Counter(_precision(layer) for layer in report["layers"]), int(report["device_memory_bytes"])


def _precision(layer: Any) -> str:
    outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
    text = " ".join(str(v) for out in outputs[:1] for k, v in out.items() if k.lower().endswith("datatype"))
    return next((name for name, words in _TYPES.items() if re.search(words, text, re.IGNORECASE)), "other")
