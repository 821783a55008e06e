"""Reading checkpoints. `run.py` writes them; a checkpoint is a folder of three files:

checkpoint.json         step, config, metrics, command, preset, versions
generator.safetensors   the generator's weights and buffers: all that export and evaluation need
training.pt             discriminators, optimisers, the student if any; tensors and plain values only (weights_only)

Nothing in a checkpoint is unpickled, so one from a stranger is data, not code.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import find_label_set
from adaptseg_training.config import NO_SIZE, TrainConfig
from adaptseg_training.errors import CheckpointError
from adaptseg_training.parsing import from_settings

if TYPE_CHECKING:
    from adaptseg_training.models.generator import Generator

RECORD, GENERATOR, TRAINING = "checkpoint.json", "generator.safetensors", "training.pt"
FOLDER, BEST, PREFIX = "checkpoints", "best", "step_"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read."""

    path: Path
    config: TrainConfig
    step: int
    """Steps done."""
    generator_state: dict[str, Tensor]
    metrics: dict[str, Any]
    """Of the evaluation at this step; empty if there was none."""
    command: str
    preset: str


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: its folder, a file in it, or a run's folder (then the best one, else the last)."""
    folder = find_checkpoint(path)
    record = read_record(folder)
    try:
        return Checkpoint(
            path=folder,
            config=from_settings(record["config"], folder / RECORD),
            step=int(record["step"]),
            generator_state=load_file(folder / GENERATOR),
            metrics=dict(record["metrics"]),
            command=str(record["command"]),
            preset=str(record["preset"]),
        )
    except (KeyError, TypeError, ValueError, OSError, SafetensorError, ConfigError) as error:
        raise CheckpointError(f"{folder} is damaged or of another release ({error!r}).") from error


def load_generator(checkpoint: Checkpoint) -> "Generator":
    """The checkpoint's generator on the CPU, in eval mode."""
    from adaptseg_training.models.generator import build_generator

    config = replace(checkpoint.config.generator, weights="none")
    has_aux = any(key.startswith("aux") for key in checkpoint.generator_state)
    generator = build_generator(config, len(find_label_set(checkpoint.config.label_set)), has_aux)
    try:
        generator.load_state_dict(checkpoint.generator_state)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint.path}: its weights do not fit its config: {error}") from error
    return generator.eval()


def load_training_state(folder: Path) -> dict[str, Any]:
    """What a resumed run needs besides the generator: discriminators, optimisers, the student if there is one."""
    try:
        state: dict[str, Any] = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of damaged bytes raises whatever they happen to spell
        raise CheckpointError(
            f"{folder / TRAINING} can't be read ({error!r}); delete {folder} and resume again."
        ) from error
    return state


def model_size(config: TrainConfig) -> tuple[int, int]:
    """(height, width) at which the trained generator is asked: evaluate's if given, else the target's or the source's.

    In the run's own evaluations and pictures, and by default wherever its checkpoints are scored or exported.
    """
    if config.evaluate is not None and config.evaluate.size != NO_SIZE:
        return config.evaluate.size
    return config.source.size if config.target is None else config.target.size


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that `path` means. CheckpointError says what was expected."""
    if path.is_file() and path.name in {RECORD, GENERATOR, TRAINING}:
        return path.parent
    if (path / RECORD).is_file():
        return path.resolve()
    if (path / FOLDER / BEST / RECORD).is_file():
        return (path / FOLDER / BEST).resolve()
    last = last_checkpoint(path)
    if last is None:
        raise CheckpointError(f"{path} is neither a checkpoint ({RECORD} ...) nor a run that has saved one.")
    return last


def last_checkpoint(run: Path) -> Path | None:
    """The run's checkpoint of the highest step."""
    saved = saved_checkpoints(run)
    return saved[-1] if saved else None


def saved_checkpoints(run: Path) -> list[Path]:
    """The run's whole checkpoints, oldest first."""
    return sorted(p.parent for p in (run / FOLDER).glob(f"{PREFIX}*/{RECORD}"))


def read_record(folder: Path) -> dict[str, Any]:
    """checkpoint.json of a checkpoint's folder."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / RECORD} can't be read: {error}.") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{folder / RECORD} is not a checkpoint's record.")
    return record
