"""A bundle's graph back into a generator's weights, so that training can go on from what is served.

The export folds batch norm into the convolution before it: weight * gamma / sqrt(variance + eps). The light generator's
batch norm is frozen at ImageNet's, so a generator that holds it knows the factor, and the folding can be taken
back; the bias that the folding left behind tells whether the batch norm is the same one.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from adaptseg_serve.bundle import MANIFEST, MODEL, PACKAGED_NAME, Bundle, open_bundle
from adaptseg_serve.errors import ConfigError

_log = logging.getLogger(__name__)


class _Convolution(NamedTuple):
    weight: Tensor
    bias: Tensor | None


def is_bundle(place: str) -> bool:
    """Whether `place` names a bundle: its folder, or "packaged"."""
    return place == PACKAGED_NAME or (Path(place) / MANIFEST).is_file()


def read_bundle_tensors(place: str, generator: nn.Module) -> dict[str, Tensor]:
    """The weights of the bundle `place` by their names in `generator`, which must hold the batch norm of its training.

    What the graph stores as fp16 comes back to 11 bits. The aux head isn't in a bundle. The class offsets that its
    export added are part of its last bias and come along, which is logged: training goes on from what is served.
    Raises BundleError for what is no bundle, ConfigError for one of another backbone, another batch norm or a
    `detail` that `generator` lacks.
    """
    bundle = open_bundle(place)
    if bundle.manifest.get("generator", {}).get("backbone") != "lite0":
        raise ConfigError(f"{bundle.path} isn't of the light generator; give its checkpoint's generator.safetensors.")
    convolutions, norms = _convolutions(bundle), _norms(generator)
    if "detail.mix" in convolutions and getattr(generator, "detail", None) is None:
        raise ConfigError(f"{bundle.path} has a finer main level. Say --generator.detail.")
    tensors: dict[str, Tensor] = {}
    for name, (weight, bias) in convolutions.items():
        if name in norms:
            tensors[f"{name}.weight"] = _unfolded(weight, bias, norms[name], f"{name} of {bundle.path}")
        else:
            tensors |= {f"{name}.weight": weight} | ({} if bias is None else {f"{name}.bias": bias})
    if offsets := bundle.manifest.get("training", {}).get("class_offsets"):
        said = " ".join(f"{name}={offset:g}" for name, offset in offsets.items())
        _log.info("bundle %s: its class offsets are in these weights, don't add them again: %s", place, said)
    return tensors


def _convolutions(bundle: Bundle) -> dict[str, _Convolution]:
    """Of the fp32 graph, by the names of the modules that they were."""
    graph = onnx.load_model_from_string(bundle.read(MODEL)).graph
    stored = {each.name: torch.tensor(numpy_helper.to_array(each)).float() for each in graph.initializer}
    for node in graph.node:  # fp16 weights stand behind a Cast
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in stored]
    return {
        node.name: _Convolution(stored[node.input[1]], stored.get(node.input[2]) if len(node.input) > 2 else None)
        for node in convolutions
    }


def _norms(generator: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norm behind each convolution that has one, by the convolution's name."""
    found: dict[str, nn.BatchNorm2d] = {}
    before = ""
    for name, module in generator.named_modules():
        if isinstance(module, nn.BatchNorm2d) and before:
            found[before] = module
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            before = name if isinstance(module, nn.Conv2d) else ""
    return found


def _unfolded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d, what: str) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    expected = norm.bias.detach() - norm.running_mean * factor
    if bias is None or bias.shape != expected.shape or not torch.allclose(bias, expected, rtol=2e-3, atol=2e-3):
        raise ConfigError(
            f"{what} was trained with another batch norm than ImageNet's, which its graph can't give back; "
            "start from its checkpoint's generator.safetensors."
        )
    return weight / factor.view(-1, 1, 1, 1)
