"""Training goes on from a bundle: the weights come back out of its graph."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from helpers.tiny_bundle import write_tiny_bundle
from onnx import numpy_helper

from adaptseg_serve.bundle import MANIFEST, MODEL, packaged_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.data.streets import render_street
from adaptseg_training.models import Generator, Normalise, build_generator, preprocess_spec

PACKAGED = GeneratorConfig(backbone="lite0", weights="packaged", detail=True)


def _logits(generator: Generator, image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]  # any dtype
    spec = preprocess_spec(PACKAGED, (180, 240))
    with torch.no_grad():
        seen = generator.eval()(Normalise(spec)(torch.tensor(image[None]).permute(0, 3, 1, 2)))
    return np.asarray(seen.main)


def test_the_generator_says_what_the_packaged_graph_says() -> None:
    image, _ = render_street(5, size=(180, 240))
    session = ort.InferenceSession(packaged_bundle() / MODEL, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(["logits"], {"image": image[None]})
    generator = build_generator(PACKAGED, 19, aux=False)
    ours = _logits(generator, image)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()


def test_nothing_but_the_aux_head_is_left_at_initialisation(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        build_generator(PACKAGED, 19, aux=True)
    assert "left at initialisation: aux (8 tensors)" in caplog.text
    with caplog.at_level("INFO"):
        caplog.clear()
        build_generator(PACKAGED, 19, aux=False)
    assert "left at initialisation" not in caplog.text


def test_class_offsets_that_come_along_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever adapts the packaged model and exports it with the packaged model's flags would add them twice."""
    offsets = json.loads((packaged_bundle() / MANIFEST).read_text())["training"]["class_offsets"]
    assert offsets["vegetation"] == -2
    with caplog.at_level("INFO"):
        build_generator(PACKAGED, 19, aux=False)
    assert "class offsets are in these weights, don't add them again: " in caplog.text
    assert all(f"{name}={offset:g}" in caplog.text for name, offset in offsets.items())


def test_a_folder_is_as_good_as_the_name(tmp_path: Path) -> None:
    shutil.copytree(packaged_bundle(), tmp_path / "b")
    named, placed = (
        build_generator(GeneratorConfig(backbone="lite0", weights=weights, detail=True), 19, aux=False)
        for weights in ("packaged", str(tmp_path / "b"))
    )
    for name, tensor in named.state_dict().items():
        assert torch.equal(tensor, placed.state_dict()[name]), name


def test_weights_that_were_folded_keep_their_size() -> None:
    """Unfolded by the factor they were folded with, weights stay near ImageNet's; folded ones are far smaller."""
    started = build_generator(GeneratorConfig(backbone="lite0"), 19, aux=False).state_dict()
    unfolded = build_generator(PACKAGED, 19, aux=False).state_dict()
    for name in ("backbone.blocks.5.3.conv_pw.weight", "backbone.blocks.6.0.conv_pwl.weight"):
        assert 0.5 < unfolded[name].std() / started[name].std() < 2


def test_a_finer_level_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"--generator\.detail"):
        build_generator(GeneratorConfig(backbone="lite0", weights="packaged"), 19, aux=False)


def test_another_batch_norm_is_noticed(tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    shutil.copytree(packaged_bundle(), bundle)
    model = onnx.load(bundle / MODEL)
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    bias = next(each for each in model.graph.initializer if each.name == stem.input[2])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
    _replace_model(bundle, model)
    with pytest.raises(ConfigError, match=r"backbone\.stem\.0.*another batch norm.*generator\.safetensors"):
        build_generator(GeneratorConfig(backbone="lite0", weights=str(bundle), detail=True), 19, aux=False)


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    with pytest.raises(ConfigError, match="isn't of the light generator"):
        build_generator(GeneratorConfig(backbone="lite0", weights=str(tmp_path / "tiny")), 19, aux=False)
    with pytest.raises(ConfigError, match=r"light generator's.*lite0"):
        build_generator(GeneratorConfig(backbone="vgg16", weights="packaged"), 19, aux=False)


def _replace_model(bundle: Path, model: onnx.ModelProto) -> None:
    """Write `model` and the digest that goes with it."""
    onnx.save(model, bundle / MODEL)
    manifest = json.loads((bundle / MANIFEST).read_text())
    raw = (bundle / MODEL).read_bytes()
    manifest["files"][MODEL] = {"sha256": sha256(raw).hexdigest(), "bytes": len(raw)}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
