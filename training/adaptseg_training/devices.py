"""Which device a process computes on."""

import torch

from adaptseg_serve.errors import ConfigError


def choose_device(name: str, local_rank: int | None = None) -> torch.device:
    """auto is a CUDA device, or the CPU. ConfigError for a device that isn't there.

    local_rank: this process's number on its machine, where torchrun started several: the GPU that it takes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--run.device {name} can't be used here: {reason}") from error
    return device
