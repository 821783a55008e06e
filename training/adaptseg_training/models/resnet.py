"""The ResNet of DeepLab-v2: output stride 8, conv4 and conv5 dilated instead of strided.

Three details differ from torchvision's ResNet, and the released AdaptSegNet checkpoints need each: the stride of a
stage sits in its first 1x1 convolution, every block of a dilated stage has the same dilation, and the max-pool
rounds up (so that 512 rows become 65 rows of logits, not 64).
"""

from torch import Tensor, nn

from adaptseg_training.models.features import Features

EXPANSION = 4
"""A block's output has this many times its inner width."""

ResNetLayers = tuple[int, int, int, int]


class Bottleneck(nn.Module):
    """1x1, dilated 3x3, 1x1 convolutions and a shortcut: (N, C, h, w) -> (N, 4 * width, h / stride, w / stride)."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


class ResNet(nn.Module):
    """(N, 3, H, W) -> conv4 (N, 1024, h, w) and conv5 (N, 2048, h, w), h about H / 8 + 1.

    512x1024 gives 65x129, 65x129 gives 9x17.
    """

    conv4_channels = 1024
    conv5_channels = 2048
    fine_channels = None

    def __init__(self, layers: ResNetLayers = (3, 4, 23, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.layer1 = _stage(64, 64, layers[0], stride=1, dilation=1)
        self.layer2 = _stage(256, 128, layers[1], stride=2, dilation=1)
        self.layer3 = _stage(512, 256, layers[2], stride=1, dilation=2)
        self.layer4 = _stage(1024, 512, layers[3], stride=1, dilation=4)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Features:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        conv4 = self.layer3(self.layer2(self.layer1(x)))
        return Features(conv4, self.layer4(conv4))


def _stage(in_channels: int, width: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride, dilation)
    return nn.Sequential(first, *(Bottleneck(EXPANSION * width, width, 1, dilation) for _ in range(blocks - 1)))


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if in_channels == out_channels and stride == 1:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
