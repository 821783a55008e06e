"""Dilated depthwise convolutions, which CPU libraries compute slowly, as undilated ones, which they compute fast.

A convolution of dilation d never mixes pixels whose rows, or columns, differ modulo d: it is d * d undilated
convolutions, each of every d-th row and column. Laid into the batch (space-to-batch), they are one.
`benchmarks/step.py` measures what it gains: oneDNN's backward pass takes 6 to 15 times as long for the dilated form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class DilatedDepthwise(nn.Conv2d):
    """nn.Conv2d for a depthwise one of stride 1 that keeps the image's size; the same parameters, the same result.

    Only the CPU's eager mode is computed otherwise: an exported or compiled graph has the convolution as it is.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "DilatedDepthwise":
        """`conv`, for which `fits` holds, with its parameters and not with copies of them."""
        rows, columns = conv.kernel_size
        made = cls(
            conv.in_channels,
            conv.out_channels,
            (rows, columns),
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        made.weight, made.bias = conv.weight, conv.bias
        return made

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether `conv` is depthwise, dilated, of stride 1 and an odd kernel, and keeps the image's size."""
        same = tuple(dilation * (side // 2) for dilation, side in zip(conv.dilation, conv.kernel_size, strict=True))
        return (
            conv.groups == conv.in_channels == conv.out_channels
            and max(conv.dilation) > 1
            and conv.stride == (1, 1)
            and all(side % 2 for side in conv.kernel_size)
            and conv.padding == same
            and conv.padding_mode == "zeros"
        )

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        images, _, height, width = input.shape
        rows, columns = self.dilation
        undilated = [side // 2 for side in self.kernel_size]
        if height % rows or width % columns:
            input = functional.pad(input, (0, -width % columns, 0, -height % rows))
        parts = _to_batch(input, rows, columns)
        parts = functional.conv2d(parts, self.weight, self.bias, padding=undilated, groups=self.groups)
        return _from_batch(parts, rows, columns, images)[..., :height, :width]


def undilate(network: nn.Module) -> None:
    """Put a `DilatedDepthwise` in the place of each convolution of `network` that it fits."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Conv2d and DilatedDepthwise.fits(module):
            network.set_submodule(name, DilatedDepthwise.of(module))


def _to_batch(x: Tensor, rows: int, columns: int) -> Tensor:
    """(N, C, h * rows, w * columns) -> (rows * columns * N, C, h, w), channels last in memory."""
    images, channels, height, width = x.shape
    grid = x.permute(0, 2, 3, 1).reshape(images, height // rows, rows, width // columns, columns, channels)
    parts = grid.permute(2, 4, 0, 1, 3, 5).reshape(-1, height // rows, width // columns, channels)
    return parts.permute(0, 3, 1, 2)


def _from_batch(parts: Tensor, rows: int, columns: int, images: int) -> Tensor:
    """The way back."""
    _, channels, height, width = parts.shape
    grid = parts.permute(0, 2, 3, 1).reshape(rows, columns, images, height, width, channels)
    x = grid.permute(2, 3, 0, 4, 1, 5).reshape(images, height * rows, width * columns, channels)
    return x.permute(0, 3, 1, 2)
