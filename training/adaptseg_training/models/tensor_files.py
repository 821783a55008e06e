"""Tensors by name from a file or a URL. Nothing is unpickled but tensors."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from adaptseg_serve.errors import ConfigError


def read_tensors(place: str) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file read with weights_only; `place` is a path or a URL.

    Raises ConfigError, naming the file, if it is missing, damaged, or holds more than tensors.
    """
    path = download(place) if place.startswith(("http://", "https://")) else Path(place)
    if not path.is_file():
        raise ConfigError(f"no weights file {place}. Say imagenet, none, or the path of a .safetensors or .pth file.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)


def download(url: str, check_hash: bool = False) -> Path:
    """Fetch `url` into PyTorch's cache (TORCH_HOME), once, and return the file's path.

    `check_hash` for URLs that end in the first digits of the file's SHA-256, as torchvision's do.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    digits = re.search(r"-([a-f0-9]{8,})\.", path.name) if check_hash else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits and digits[1], progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"can't download {url}: {error}. Download it elsewhere and give its path: --generator.weights PATH."
        ) from error
    return path


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{path} is not a whole safetensors file: {error}") from error


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        content = _load_weights_only(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ConfigError(f"{path} holds more than tensors, or is damaged: {error}") from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}, wanted a state dict (tensors by name).")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}


def _load_weights_only(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")
        return torch.load(path, map_location="cpu", weights_only=True)
