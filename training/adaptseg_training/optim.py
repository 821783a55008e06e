"""Optimisers of the generator and the discriminators, and their poly schedule."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from adaptseg_training.config import OptimiserConfig
from adaptseg_training.models.generator import Generator


def generator_optimiser(generator: Generator, config: OptimiserConfig) -> Optimizer:
    """SGD or AdamW over what is trained: the backbone at `lr`, the heads at `lr * head_lr_factor`."""
    trained = {name: p for name, p in generator.named_parameters() if p.requires_grad}
    backbone = {name: p for name, p in trained.items() if name.startswith("backbone.")}
    heads = [p for name, p in trained.items() if name not in backbone]
    groups = [{"params": ps, "repeats": n} for n, ps in _by_repeats(backbone, config).items()]
    groups.append({"params": heads, "lr": config.lr * config.head_lr_factor, "repeats": 1})
    settings: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    fused = _fused(generator, config)
    if config.algorithm == "adamw":
        return _scheduled(AdamW(groups, **settings, fused=fused))
    settings |= {"momentum": config.momentum, "nesterov": config.nesterov}
    if config.param_groups == "legacy":
        return _scheduled(RepeatingSgd(groups, **settings))
    return _scheduled(SGD(groups, **settings, fused=fused))


def discriminator_optimiser(discriminator: nn.Module, config: OptimiserConfig) -> Optimizer:
    """Adam, betas (0.9, 0.99), no weight decay."""
    fused = _fused(discriminator, config)
    return _scheduled(Adam(discriminator.parameters(), lr=config.discriminator_lr, betas=config.betas, fused=fused))


def poly(step: int, config: OptimiserConfig) -> float:
    """(1 - step / schedule_steps) ** power, `step` from 0: the share of its initial value each learning rate has."""
    return float(max(0.0, 1 - step / config.schedule_steps) ** config.power)


def set_lr(optimiser: Optimizer, share: float) -> None:
    """Every group's learning rate := `share` of its initial one."""
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * share


def occurrences(name: str) -> int:
    """How often the reference code's optimiser lists a backbone parameter: once for each module that contains it.

    So ResNet's block convolutions come 3 times and its shortcuts 4 times. Backbones other than ResNet: once.
    """
    inner = name.removeprefix("backbone.")
    return inner.count(".") if inner.startswith("layer") and inner.split(".")[1].isdigit() else 1


class RepeatingSgd(SGD):
    """SGD that updates the parameters of a group `repeats` times per step, with one momentum buffer.

    This is what a duplicated parameter list did in PyTorch before 2.0: gradients stay the same, but weight decay and
    momentum see each update at once.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, group)
        return loss

    def _update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        buffer = state["momentum_buffer"]
        for _ in range(group["repeats"]):
            change = grad.add(param, alpha=group["weight_decay"])
            buffer.mul_(group["momentum"]).add_(change)
            change = change.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
            param.add_(change, alpha=-group["lr"])


def _fused(network: nn.Module, config: OptimiserConfig) -> bool | None:
    """None leaves the choice to PyTorch, which has fused kernels for few devices."""
    return True if config.fused and all(p.device.type in {"cpu", "cuda"} for p in network.parameters()) else None


def _by_repeats(backbone: dict[str, nn.Parameter], config: OptimiserConfig) -> dict[int, list[nn.Parameter]]:
    groups: dict[int, list[nn.Parameter]] = {}
    for name, param in backbone.items():
        repeats = occurrences(name) if config.param_groups == "legacy" else 1
        groups.setdefault(repeats, []).append(param)
    return groups


def _scheduled(optimiser: Optimizer) -> Optimizer:
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return optimiser
