"""Generators against their graphs, as `export.py` asks: which weights, which pictures, how many pixels differ."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptseg_export.aspp import with_shifted_aspp
from adaptseg_export.deployment import Deployment, MainLevel
from adaptseg_export.graph import write_graph
from adaptseg_export.parity import compare
from adaptseg_export.precision import HalfDeployment
from adaptseg_export.probes import street
from adaptseg_serve.labels import IGNORE_ID
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.checkpoint import load_checkpoint, load_generator
from adaptseg_training.config import Backbone, GeneratorConfig
from adaptseg_training.data.streets import LOOKS, render_street
from adaptseg_training.models import Generator, build_generator
from adaptseg_training.models.generator import preprocess_spec

ODD = ((1, 257, 383), (2, 129, 255))
BRANCH_GAMMA = 0.2
FIT_SIZE, FIT_FRAMES, FIT_STEPS = (192, 384), 5, 400


@dataclass(frozen=True)
class Subject:
    """One backbone, its head fitted; `weights` says where the backbone's come from."""

    backbone: str
    weights: str
    spec: PreprocessSpec
    deployment: Deployment


def subject(backbone: Backbone, size: tuple[int, int], vgg_weights: str) -> Subject:
    """lite0 with its ImageNet weights, vgg16 with those of the file, resnet101 with random ones.

    A random ResNet's activations grow to 1e7: its batch norm takes its statistics from rendered streets. Heads are
    fitted to rendered streets for some seconds: an untrained one gives all classes nearly the same score.
    Its residual branches are as faint as training starts them and leaves them (Goyal et al. 2017, section 5.1, starts
    at 0): at full strength 33 random branches in a row make rounding grow as no trained ResNet does (docs/log.md).
    """
    weights = {"lite0": "imagenet", "vgg16": vgg_weights or "none"}.get(backbone, "none")
    config = GeneratorConfig(backbone=backbone, weights=weights)
    torch.manual_seed(0)
    generator = build_generator(config, 19, aux=False)
    spec = preprocess_spec(config, size)
    deployment = Deployment(MainLevel(generator), spec).eval()
    if backbone == "resnet101":
        _fade_branches(generator)
        _settle_batch_norm(generator, deployment)
    _fit_head(generator, deployment)
    return Subject(backbone, "random" if weights == "none" else weights.rsplit("/", 1)[-1], spec, deployment)


def _fade_branches(generator: Generator) -> None:
    """Scale what every residual branch adds."""
    for name, module in generator.named_modules():
        if name.endswith("bn3"):
            nn.init.constant_(module.weight, BRANCH_GAMMA)


def _settle_batch_norm(generator: Generator, deployment: Deployment) -> None:
    """Statistics of two rendered streets, so that activations keep their size from layer to layer."""
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the forwards
        norm.training = True
    with torch.inference_mode():
        deployment(torch.from_numpy(street((2, 128, 256))))
    for norm in norms:
        norm.training = False


def _fit_head(generator: Generator, deployment: Deployment) -> None:
    """The backbone's features are computed once; then Adam on the cross-entropy at their size."""
    drawn = [render_street(seed, LOOKS[seed], FIT_SIZE) for seed in range(FIT_FRAMES)]
    features: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.no_grad():
        for image, label_map in drawn:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            pixels = pixels.flip(1) if deployment.bgr else pixels
            features.append(generator.backbone((pixels - deployment.mean) / deployment.std).conv5)
            truth = torch.from_numpy(label_map)[None, None].float()
            labels.append(functional.interpolate(truth, features[-1].shape[2:], mode="nearest")[0].long())
    optimiser = torch.optim.Adam(generator.main.parameters(), lr=3e-3)
    for step in range(FIT_STEPS):
        logits = generator.main(features[step % FIT_FRAMES])
        optimiser.zero_grad()
        functional.cross_entropy(logits, labels[step % FIT_FRAMES], ignore_index=IGNORE_ID).backward()
        optimiser.step()


def trained(checkpoint: Path, size: tuple[int, int]) -> Subject:
    """A checkpoint of one's own, the only one of these that is trained as a whole."""
    found = load_checkpoint(checkpoint)
    spec = preprocess_spec(found.config.generator, size)
    deployment = Deployment(MainLevel(load_generator(found)), spec).eval()
    return Subject(found.config.generator.backbone, "trained", spec, deployment)


def parity(of: Subject, half: bool) -> dict[str, Any]:
    """JSON values: agreement of the fp32 or the fp16 graph (onnxruntime, CPU) with the fp32 generator (torch)."""
    network = with_shifted_aspp(of.deployment.network)
    graph = (HalfDeployment if half else Deployment)(network, of.spec).eval()
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        write_graph(graph, model)
        batches = [("street", street(shape)) for shape in ((1, *of.spec.size), *ODD)]
        found = compare(of.deployment, model, batches, "fp16" if half else "fp32")
    return {
        "backbone": of.backbone,
        "weights": of.weights,
        "precision": "fp16" if half else "fp32",
        "agreement": found.agreement,
        "needed": found.needed,
        "passed": found.passed,
        "shapes": [[*c.shape, c.disagreeing, c.ties] for c in found.comparisons],
        "max_logit_difference": found.of_graph.max_logit_difference,
    }
