"""The fully convolutional discriminator of section 3.3."""

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
MIN_SIDE = 32
"""Height and width, in pixels, below which nothing is left after five halvings."""


class Discriminator(nn.Module):
    """D: (N, channels, H, W) -> (N, 1, H // 32, W // 32) raw scores, one for each patch; high means target.

    It sees probs, or another space's input (spaces.py). Five 4x4 convolutions of stride 2, leaky ReLU 0.2 between
    them, no batch norm. The scores are not upsampled (the paper says they are; the loss is a mean of them, and the
    reference code doesn't).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (channels, *WIDTHS)
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in zip(inputs, WIDTHS, strict=False)
        )
        self.classifier = nn.Conv2d(WIDTHS[-1], 1, 4, stride=2, padding=1)
        self.leaky_relu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = self.leaky_relu(conv(x))
        scores: Tensor = self.classifier(x)
        return scores
