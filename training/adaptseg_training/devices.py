"""Which device a process computes on."""

import torch

from adaptseg_serve.errors import ConfigError


def choose_device(name: str, local_rank: int | None = None, flag: str = "--run.device") -> torch.device:
    """auto is a CUDA device, or the CPU. ConfigError, naming `flag`, for a device that isn't there.

    local_rank: this process's number on its machine, where torchrun started several: the GPU that it takes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda:") and local_rank is not None:
        raise ConfigError(
            f"{flag} {name}: torchrun starts a process for each GPU, and all would take that one. "
            f"Use {flag} cuda; CUDA_VISIBLE_DEVICES says which GPUs there are."
        )
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.index is not None and device.type == "cuda":
            torch.cuda.set_device(device)  # NCCL, cuDNN and "cuda" without a number work on the current one
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{flag} {name} can't be used here: {reason}") from error
    return device
