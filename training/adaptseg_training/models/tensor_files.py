"""Tensors by name from a file or a URL. Nothing is unpickled but tensors."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from adaptseg_serve.errors import ConfigError
from adaptseg_training.models.download import download


def read_tensors(place: str) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file read with weights_only; `place` is a path or a URL.

    A URL may end in #sha256=<64 hex digits>; see download. Raises ConfigError, naming the file, if it is missing,
    damaged, or holds more than tensors.
    """
    if not is_url(place):
        return _read(Path(place))
    path = download(place)
    try:
        return _read(path)
    except ConfigError as error:
        raise ConfigError(f"{error} It came from {place}; delete it to fetch it again.") from error


def is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(
            f"no weights file {path}. Give the path or the https address of a .safetensors or .pth file "
            "(--generator.weights also takes imagenet and none)."
        )
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{path} is not a whole safetensors file: {error}") from error


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        content = _load_weights_only(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ConfigError(f"{path} holds more than tensors, or is damaged ({_reason(error)}).") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}, wanted a state dict (tensors by name).")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}


def _reason(error: Exception) -> str:
    """One line, without PyTorch's advice to unpickle whatever it is."""
    head, _, tail = str(error).partition("WeightsUnpickler error:")
    lines = (tail or head).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _load_weights_only(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")
        return torch.load(path, map_location="cpu", weights_only=True)
