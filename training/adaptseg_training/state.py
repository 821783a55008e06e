"""Adaptation <-> checkpoint: what a run must remember to go on exactly where it stopped."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import GENERATOR, last_checkpoint, load_training_state, read_record
from adaptseg_training.errors import CheckpointError
from adaptseg_training.run import DIVERGED, Run

# Data order and augmentation are functions of (seed, step): there is no sampler or worker state to save.


def save(run: Run, adaptation: Adaptation, done: int, metrics: dict[str, Any]) -> Path:
    """Save after `done` steps; returns the checkpoint's folder."""
    return run.save(done, adaptation.generator.state_dict(), _training_state(adaptation), metrics)


def save_diverged(run: Run, adaptation: Adaptation, done: int) -> Path:
    """Save a broken state where no resume will take it for a good one."""
    return run.save(done, adaptation.generator.state_dict(), _training_state(adaptation), {}, prefix=DIVERGED)


def resume(run: Run, adaptation: Adaptation) -> int:
    """Load the run's last checkpoint into `adaptation`; returns the steps done (0: there is none yet)."""
    folder = last_checkpoint(run.path)
    if folder is None:
        return 0
    state = load_training_state(folder)
    try:
        torch.set_rng_state(state.pop("random"))
        if torch.cuda.is_available() and "random_cuda" in state:
            torch.cuda.set_rng_state_all(state.pop("random_cuda"))
        adaptation.load_state_dict({**state["adaptation"], "generator": load_file(folder / GENERATOR)})
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{folder} does not fit the run's settings: {error}. On resume no flag may change the network."
        ) from error
    return int(read_record(folder)["step"])


def _training_state(adaptation: Adaptation) -> dict[str, Any]:
    state = adaptation.state_dict()
    state.pop("generator")
    random: dict[str, Any] = {"random": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["random_cuda"] = torch.cuda.get_rng_state_all()
    return {"adaptation": state, **random}
