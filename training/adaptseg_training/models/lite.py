"""EfficientNet-Lite0 (timm's) in a dilated form of output stride 8: the generator for CPUs and the edge.

It isn't in the paper. 3.4 million parameters at most, plain ReLU6 and depthwise convolutions, no squeeze-and-excite.
"""

from typing import Any

import timm
from torch import Tensor, nn

from adaptseg_training.models.depthwise import undilate
from adaptseg_training.models.features import Features

_FINE_STAGE, _CONV4_STAGE = 1, 4
# The weights were trained with TensorFlow's epsilon; timm's default of 1e-5 would scale narrow channels wrongly.
_BN_EPS = 1e-3


class Lite0(nn.Module):
    """(N, 3, H, W) -> conv4 (N, 112, h, w), conv5 (N, 320, h, w), fine (N, 24, 2h, 2w), where h is about H / 8."""

    conv4_channels = 112
    conv5_channels = 320
    fine_channels = 24

    def __init__(self) -> None:
        super().__init__()
        network = imagenet_network(output_stride=8)
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.blocks = network.blocks
        undilate(self.blocks)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = _BN_EPS

    def forward(self, images: Tensor) -> Features:
        x = self.stem(images)
        fine = conv4 = x
        for stage, block in enumerate(self.blocks):
            x = block(x)
            if stage == _FINE_STAGE:
                fine = x
            if stage == _CONV4_STAGE:
                conv4 = x
        return Features(conv4, x, fine)


def imagenet_network(output_stride: int = 32) -> Any:
    """timm's classifier with random weights: the backbone is cut from it, and its key order names the weights."""
    return timm.create_model("efficientnet_lite0", pretrained=False, output_stride=output_stride)
