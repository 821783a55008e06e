"""Dilated depthwise convolutions, which CPU libraries compute slowly, as undilated ones, which they compute fast.

A convolution of dilation d never mixes pixels whose rows, or columns, differ modulo d: it is d * d undilated
convolutions, each of every d-th row and column. Laid into the batch (space-to-batch), they are one.
`benchmarks/step.py` measures what it gains: oneDNN's backward pass takes 6 to 15 times as long for the dilated form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # the former since torch 2.7
_KIND = ("out_channels", "groups", "kernel_size", "stride", "padding", "dilation", "padding_mode")


class DilatedDepthwise(nn.Conv2d):
    """nn.Conv2d for a depthwise one of stride 1 that keeps the image's size; the same parameters, the same result.

    Only the CPU computes it otherwise; an exported graph has the convolution as it is.
    """

    def __init__(self, channels: int, side: int, dilation: int, bias: bool, device: str | None = None) -> None:
        """`side`, odd: of the kernel. `dilation`: 2 or more."""
        padding = dilation * (side // 2)
        super().__init__(
            channels, channels, side, padding=padding, dilation=dilation, groups=channels, bias=bias, device=device
        )

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "DilatedDepthwise | None":
        """What computes `conv`, with its parameters and not with copies of them; None if it is not of this kind."""
        side, dilation = conv.kernel_size[0], conv.dilation[0]
        made = cls(conv.in_channels, side, dilation, conv.bias is not None, device="meta")  # draws no random numbers
        if side % 2 == 0 or dilation == 1 or any(getattr(conv, name) != getattr(made, name) for name in _KIND):
            return None
        made.weight, made.bias = conv.weight, conv.bias
        return made

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if input.device.type != "cpu" or _is_exporting():
            return super().forward(input)
        images, _, height, width = input.shape
        step = self.dilation[0]
        if height % step or width % step:
            input = functional.pad(input, (0, -width % step, 0, -height % step))
        parts = functional.conv2d(
            _to_batch(input, step), self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups
        )
        return _from_batch(parts, step, images)[..., :height, :width]


def undilate(network: nn.Module) -> None:
    """Put a `DilatedDepthwise` in the place of each convolution of `network` that is one."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Conv2d and (made := DilatedDepthwise.like(module)) is not None:
            network.set_submodule(name, made)


def _to_batch(x: Tensor, step: int) -> Tensor:
    """(N, C, step * h, step * w) -> (step * step * N, C, h, w), channels last in memory."""
    images, channels, height, width = x.shape
    grid = x.permute(0, 2, 3, 1).reshape(images, height // step, step, width // step, step, channels)
    parts = grid.permute(2, 4, 0, 1, 3, 5).reshape(-1, height // step, width // step, channels)
    return parts.permute(0, 3, 1, 2)


def _from_batch(parts: Tensor, step: int, images: int) -> Tensor:
    """The way back."""
    _, channels, height, width = parts.shape
    grid = parts.permute(0, 2, 3, 1).reshape(step, step, images, height, width, channels)
    x = grid.permute(2, 3, 0, 4, 1, 5).reshape(images, step * height, step * width, channels)
    return x.permute(0, 3, 1, 2)
