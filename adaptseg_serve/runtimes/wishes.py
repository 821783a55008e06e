"""What an engine that is built on the serving machine shall cover."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineWishes:
    """Of TensorRT, by itself or as onnxruntime's provider; every other runtime takes what comes."""

    max_batch: int = 8
    """Most images of one run: the end of the engine's profile."""
    version_compatible: bool = False
    """Fits later TensorRT releases of the same major version, too, and is a little slower. Not by onnxruntime."""
    hardware_compatible: bool = False
    """Fits other GPUs, Ampere and newer, too, and is a little slower."""


NO_WISHES = EngineWishes()
"""As the service is, by default."""
