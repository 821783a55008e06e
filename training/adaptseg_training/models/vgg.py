"""The VGG-16 of DeepLab: output stride 8, pool4 and pool5 left out, fc6 and fc7 as dilated convolutions."""

from collections import OrderedDict

from torch import Tensor, nn

from adaptseg_training.models.features import Features

# Per stage: output channels, convolutions, dilation; pooling follows the first three stages only.
_STAGES = ((64, 2, 1), (128, 2, 1), (256, 3, 1), (512, 3, 1), (512, 3, 2))
_POOLED = 3
_FC_CHANNELS = 1024
_FC_DILATION = 4


class Vgg16(nn.Module):
    """(N, 3, H, W) -> conv5 (N, 1024, H // 8, W // 8), the output of fc7. It has no aux level."""

    conv4_channels = None
    conv5_channels = _FC_CHANNELS
    fine_channels = None

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(OrderedDict(_layers()))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Features:
        return Features(None, self.layers(images))


def convolutions() -> tuple[str, ...]:
    """Names of the 13 ImageNet convolutions, first to last: conv1_1 ... conv5_3 (then come fc6 and fc7)."""
    return tuple(f"conv{i}_{j}" for i, (_, count, _) in enumerate(_STAGES, 1) for j in range(1, count + 1))


def _layers() -> list[tuple[str, nn.Module]]:
    layers: list[tuple[str, nn.Module]] = []
    channels = 3
    for i, (width, count, dilation) in enumerate(_STAGES, 1):
        for j in range(1, count + 1):
            layers += _conv(f"{i}_{j}", channels, width, dilation)
            channels = width
        if i <= _POOLED:
            layers.append((f"pool{i}", nn.MaxPool2d(2, stride=2)))
    for name, in_channels in (("fc6", channels), ("fc7", _FC_CHANNELS)):
        layers += [
            (name, nn.Conv2d(in_channels, _FC_CHANNELS, 3, padding=_FC_DILATION, dilation=_FC_DILATION)),
            (f"relu_{name}", nn.ReLU(inplace=True)),
        ]
    return layers


def _conv(name: str, in_channels: int, width: int, dilation: int) -> list[tuple[str, nn.Module]]:
    conv = nn.Conv2d(in_channels, width, 3, padding=dilation, dilation=dilation)
    return [(f"conv{name}", conv), (f"relu{name}", nn.ReLU(inplace=True))]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
