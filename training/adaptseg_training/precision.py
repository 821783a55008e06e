"""How exactly a run computes: precision, determinism, and what cuDNN may choose."""

import os
from contextlib import AbstractContextManager

import torch

from adaptseg_training.config import Precision, RunConfig


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Inside, with bf16, convolutions compute in bfloat16; weights, and everything outside, stay as they are.

    Networks go inside; upsampling, softmax and losses stay outside, in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def set_up_arithmetic(run: RunConfig, device: torch.device) -> None:
    """Process-wide switches, before the first network is made.

    fp32 is float32 throughout (torch's own default lets cuDNN round convolutions' inputs to TF32).
    """
    torch.backends.cuda.matmul.allow_tf32 = run.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = run.precision == "tf32"
    torch.backends.cudnn.benchmark = not run.deterministic  # sizes never change, so the search pays once
    if run.deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(run.deterministic)
