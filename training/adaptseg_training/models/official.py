"""Names: ours, AdaptSegNet's and torchvision's for the same tensors.

| ours                    | AdaptSegNet multi-level    | AdaptSegNet single-level   | torchvision         |
|-------------------------|----------------------------|----------------------------|---------------------|
| backbone.layer1.0...    | layer1.0...                | layer1.0...                | layer1.0...         |
| aux.branches.N.weight   | layer5.conv2d_list.N       | -                          | -                   |
| main.branches.N.weight  | layer6.conv2d_list.N       | layer5.conv2d_list.N       | -                   |
| backbone.layers.conv1_1 | -                          | features.0 (VGG-16)        | features.0 (VGG-16) |
| main.branches.N (VGG)   | -                          | classifier.conv2d_list.N   | -                   |

`layer5` is thus two things: the aux head (1024 input channels) beside a layer6, the main head (2048) without.
Discriminators need no table: their names are the same.
"""

from collections.abc import Mapping

from torch import Tensor

from adaptseg_training.models.vgg import convolutions

# Where VGG-16's convolutions lie in an nn.Sequential: torchvision's has five pools, DeepLab's lost the last two.
_TORCHVISION_VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_OFFICIAL_VGG = (*_TORCHVISION_VGG[:10], 23, 25, 27, 29, 31)


def from_official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an AdaptSegNet or DeepLab file under our names.

    A `Scale.` prefix (DeepLab's own init file) is dropped. Names that mean nothing here are kept.
    """
    bare = {key.removeprefix("Scale."): tensor for key, tensor in tensors.items()}
    layer5 = "aux" if any(key.startswith("layer6.") for key in bare) else "main"
    return {_from_official(key, layer5): tensor for key, tensor in bare.items()}


def from_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a torchvision ResNet or VGG-16 classifier under our names."""
    names = dict(zip(_TORCHVISION_VGG, convolutions(), strict=True))
    return {_rename_vgg(key, names) or f"backbone.{key}": tensor for key, tensor in tensors.items()}


def is_official(tensors: Mapping[str, Tensor]) -> bool:
    """True for files with AdaptSegNet's heads; a torchvision file has none."""
    return any("conv2d_list" in key for key in tensors)


def _from_official(key: str, layer5: str) -> str:
    head, _, tail = key.partition(".conv2d_list.")
    match head:
        case "layer5" if tail:
            return f"{layer5}.branches.{tail}"
        case "layer6" | "classifier" if tail:
            return f"main.branches.{tail}"
    names = dict(zip(_OFFICIAL_VGG, (*convolutions(), "fc6", "fc7"), strict=True))
    return _rename_vgg(key, names) or f"backbone.{key}"


def _rename_vgg(key: str, names: Mapping[int, str]) -> str | None:
    """`features.24.bias` -> `backbone.layers.conv5_1.bias`; None for names of another kind."""
    parts = key.split(".")
    if len(parts) == 3 and parts[0] == "features" and parts[1].isdigit() and int(parts[1]) in names:
        return f"backbone.layers.{names[int(parts[1])]}.{parts[2]}"
    return None
