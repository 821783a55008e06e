"""Where the golden numbers lie, and the written recipe that makes their weights and inputs.

The folder is ADAPTSEG_GOLDEN, or ../shared/golden beside the repository; its README.md is the text followed here.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adaptseg_training.models import Discriminator, Generator
from adaptseg_training.models.official import from_official
from adaptseg_training.models.weights import load_tensors

FOLDER = Path(os.environ.get("ADAPTSEG_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")
BASE = 20180226
CLASSES = 19

needs_golden = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no golden numbers in {FOLDER}; set ADAPTSEG_GOLDEN to their folder"
)


def files(pattern: str) -> list[Any]:
    """pytest parameters: the golden files that match, or one that is skipped where the folder is absent."""
    found = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob(pattern))]
    return found or [pytest.param(None, id=pattern, marks=pytest.mark.skip(reason=f"no {pattern} in {FOLDER}"))]


def read_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def arrays(name: str | Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file by name."""
    with np.load(FOLDER / name) as content:
        return {key: content[key] for key in content.files}


def weight(key: str, shape: Sequence[int], seed: int) -> Tensor:
    """Section 1: the float32 tensor of a state-dict key; int64 for counters."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    random = np.random.RandomState((seed + zlib.crc32(key.encode("ascii"))) % 2**32)
    z = np.asarray(random.standard_normal(tuple(shape)))
    return torch.from_numpy(_scaled(key, z).astype(np.float32))


def image(seed: int, shape: Sequence[int]) -> Tensor:
    """Section 2: normalised float32 image, NCHW."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32))


def label(seed: int, shape: Sequence[int]) -> Tensor:
    """Section 2: (1, H, W) int64 train ids, a tenth of them 255."""
    random = np.random.RandomState(seed)
    ids = random.randint(0, CLASSES, tuple(shape))
    ids[random.uniform(size=tuple(shape)) < 0.1] = 255
    return torch.from_numpy(ids)


def official_tensors(model: str, heads: str) -> dict[str, Tensor]:
    """Weights of the official network `model` (resnet101, tiny, vgg16) with heads multi or single, by official key."""
    return {key: weight(key, shape, BASE) for key, shape in official_shapes(model, heads).items()}


def official_shapes(model: str, heads: str) -> dict[str, tuple[int, ...]]:
    match model, heads:
        case "resnet101", "multi":
            return _shapes("DeeplabMulti_resnet101")
        case "resnet101", "single":
            return _shapes("Res_Deeplab_resnet101")
        case "tiny", "multi":
            return _shapes("tiny_1121_multi")
        case "tiny", "single":
            shapes = {key: shape for key, shape in _shapes("tiny_1121_multi").items() if "layer5" not in key}
            return {key.replace("layer6", "layer5"): shape for key, shape in shapes.items()}
        case "vgg16", "single":
            return _shapes("DeeplabVGG")
    raise ValueError(f"no official network {model} {heads}")


def load_official(generator: Generator, tensors: Mapping[str, Tensor]) -> None:
    """Through the importer that users' files take; everything must fit, but for branches the generator lacks."""
    report = load_tensors(generator, from_official(tensors), "golden recipe")
    assert not report.initial
    spare = [name for name, _ in report.skipped if name.split(".")[-2] not in ("2", "3")]
    assert not spare


def load_discriminator(discriminator: nn.Module, seed: int) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in discriminator.state_dict().items()}
    discriminator.load_state_dict({key: weight(key, shape, seed) for key, shape in shapes.items()})


def discriminator(level: int, channels: int = CLASSES) -> Discriminator:
    """D1 (aux) or D2 (main) of section 1; 3 for the feature discriminators."""
    module = Discriminator(channels)
    load_discriminator(module, BASE + level)
    return module


def _scaled(key: str, z: NDArray[np.float64]) -> NDArray[np.float64]:
    if key.endswith("running_mean"):
        return 0.1 * z
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    if z.ndim == 4:
        return 0.01 * z if "conv2d_list" in key else z * np.sqrt(2 / (z.shape[1] * z.shape[2] * z.shape[3]))
    if key.endswith("bn3.weight"):
        return 0.3 * (1 + 0.1 * z)
    return 1 + 0.1 * z if key.endswith(".weight") else 0.05 * z


def _shapes(network: str) -> dict[str, tuple[int, ...]]:
    entries = read_json("state_dict_keys.json")[network]
    return {key: tuple(entry["shape"] if isinstance(entry, dict) else entry) for key, entry in entries.items()}
