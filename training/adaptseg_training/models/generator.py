"""The generator: one backbone, and one ASPP head for each level."""

from typing import Any, NamedTuple, Self

from torch import Tensor, nn

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import PreprocessSpec, efficientnet_lite_spec, reference_spec, torchvision_spec
from adaptseg_training.config import BatchNormMode, GeneratorConfig
from adaptseg_training.models.aspp import Aspp
from adaptseg_training.models.detail import Detail
from adaptseg_training.models.features import Backbone, Features
from adaptseg_training.models.resnet import ResNet
from adaptseg_training.models.vgg import Vgg16
from adaptseg_training.models.weights import load_initial_weights


class Logits(NamedTuple):
    """What the heads say, each (N, classes, h, w) float, h and w about an eighth of the image's: not upsampled.

    With `detail` the main level's are about a quarter.
    """

    aux: Tensor | None
    """conv4's level; None from a generator without aux head."""
    main: Tensor
    """conv5's level, the one used at test time."""
    features: Features
    """What the heads saw."""

    def of(self, level: str) -> Tensor:
        """The logits of aux or main."""
        return self.main if level == "main" else _there(self.aux)

    def features_of(self, level: str) -> Tensor:
        """(N, channels, h, w): what the head of aux or main saw."""
        return self.features.conv5 if level == "main" else _there(self.features.conv4)


class Generator(nn.Module):
    """G: (N, 3, H, W) float images, normalised by `preprocess_spec`, -> Logits.

    Batch norm's gamma and beta are never trained, in any backbone. Its statistics stay as loaded in every mode
    (`bn` frozen), or follow each batch, source and target, while the generator is in training mode (reference).
    """

    def __init__(
        self, backbone: Backbone, heads: dict[str, Aspp], bn: BatchNormMode, detail: Detail | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.aux = heads.get("aux")
        self.main = heads["main"]
        self.detail = detail
        self.bn: BatchNormMode = bn
        for norm in _batch_norms(self):
            norm.requires_grad_(False)
        self.train()

    def forward(self, images: Tensor) -> Logits:
        features = self.backbone(images)
        aux = None if self.aux is None or features.conv4 is None else self.aux(features.conv4)
        main = self.main(features.conv5)
        if self.detail is not None:
            main = self.detail(main, features.fine)
        return Logits(aux, main, features)

    def train(self, mode: bool = True) -> Self:
        """As nn.Module.train, except that frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self.bn == "frozen":
            for norm in _batch_norms(self):
                norm.eval()
        return self

    @property
    def feature_channels(self) -> dict[str, int]:
        """Channels of each level's features, the input of its head; of main, and of aux if the backbone has it."""
        conv4 = self.backbone.conv4_channels
        return {"main": self.backbone.conv5_channels} | ({} if conv4 is None else {"aux": conv4})

    @property
    def heads(self) -> dict[str, Aspp]:
        """The heads by level: main, and aux if there is one."""
        return {"main": self.main} if self.aux is None else {"aux": self.aux, "main": self.main}


def build_generator(config: GeneratorConfig, classes: int, aux: bool) -> Generator:
    """A generator for `classes` train ids, with `config.weights` loaded and the rest freshly initialised.

    What was loaded and what wasn't goes to the log. `aux` adds the aux level's head.
    Raises ConfigError if the backbone has no aux level or the weights can't be had.
    """
    backbone = _backbone(config)
    channels = {"aux": backbone.conv4_channels, "main": backbone.conv5_channels}
    levels = ("aux", "main") if aux else ("main",)
    heads = {level: Aspp(_channels(config, level, channels[level]), classes, config.aspp_branches) for level in levels}
    generator = Generator(backbone, heads, config.bn, _detail(config, backbone, classes))
    load_initial_weights(generator, config)
    return generator


def preprocess_spec(config: GeneratorConfig, size: tuple[int, int]) -> PreprocessSpec:
    """What the generator's weights want to see; `size` is (height, width). Depends on `config` alone.

    With `normalisation` auto: lite0 its own; vgg16 torchvision's; resnet101 torchvision's for weights "imagenet",
    and the reference's for a file or none, because released AdaptSegNet and DeepLab files were made that way.
    """
    match config.normalisation:
        case "caffe":
            return reference_spec(size)
        case "torchvision":
            return torchvision_spec(size)
        case "lite":
            return efficientnet_lite_spec(size)
    match config.backbone:
        case "lite0":
            return efficientnet_lite_spec(size)
        case "resnet101" if config.weights != "imagenet":
            return reference_spec(size)
    return torchvision_spec(size)


def _there(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "a generator without aux level is never asked for it"
    return tensor


def _backbone(config: GeneratorConfig) -> Any:
    match config.backbone:
        case "resnet101":
            return ResNet(config.resnet_layers)
        case "vgg16":
            return Vgg16()
        case "lite0":
            from adaptseg_training.models.lite import Lite0  # timm takes seconds to import

            return Lite0()


def _channels(config: GeneratorConfig, level: str, channels: int | None) -> int:
    if channels is None:
        raise ConfigError(
            f"{config.backbone} has no {level} level. Set {level}.seg-weight and {level}.adv-weight to 0, "
            "or choose resnet101 or lite0."
        )
    return channels


def _detail(config: GeneratorConfig, backbone: Backbone, classes: int) -> Detail | None:
    if not config.detail:
        return None
    if backbone.fine_channels is None:
        raise ConfigError(f"{config.backbone} offers no features at a quarter. --generator.detail is lite0's.")
    return Detail(classes, backbone.fine_channels)


def _batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
