"""The AdaptSegNet authors' files, made from the golden recipe, served as bundles."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from golden import recipe
from golden.independent import Network, Spec
from golden.test_golden_forward import IMAGES
from numpy.typing import NDArray
from torch import Tensor

from adaptseg_export.cli import main
from adaptseg_export.official import read_release
from adaptseg_serve.bundle import MODEL, open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import reference_spec
from adaptseg_training.checkpoint import load_generator
from adaptseg_training.models import upsample


def release(path: Path, model: str, heads: str, classes: int = recipe.CLASSES, old: bool = False) -> Path:
    """A file as the authors' code saves it; `old` as PyTorch 0.3 saved it from DeepLab's names."""
    tensors = recipe.official_tensors(model, heads)
    if classes != recipe.CLASSES:
        tensors = {key: tensor[:classes] if "conv2d_list" in key else tensor for key, tensor in tensors.items()}
    if old:
        tensors = {f"Scale.{key}": tensor for key, tensor in tensors.items() if "num_batches" not in key}
    torch.save(tensors, path, _use_new_zipfile_serialization=not old)
    return path


def logits_of(path: Path, image: Tensor) -> Tensor:
    """What the released file's main level says, by our loader."""
    checkpoint, _ = read_release(str(path))
    with torch.no_grad():
        logits: Tensor = load_generator(checkpoint)(image).main
    return logits


def fed_normalised(model: Path, image: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The bundle's graph from its first convolution on: golden images come normalised, a bundle takes pixels."""
    graph = onnx.load(str(model))
    first = next(node for node in graph.graph.node if node.op_type == "Conv")
    first.input[0] = "normalised"
    shape = ["N", 3, "h", "w"]
    graph.graph.input.append(onnx.helper.make_tensor_value_info("normalised", onnx.TensorProto.FLOAT, shape))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    pixels = np.zeros((len(image), *image.shape[2:], 3), np.uint8)
    label_map, logits = session.run(["label_map", "logits"], {"image": pixels, "normalised": image.numpy()})
    return label_map, logits


@recipe.needs_golden
def test_a_multi_level_release_is_served_with_the_authors_numbers(tmp_path: Path) -> None:
    path, folder = release(tmp_path / "released.pth", "tiny", "multi"), tmp_path / "bundle"
    assert main(["--from-adaptsegnet", str(path), str(folder), "--size", "64", "128"]) == 0
    bundle, golden = open_bundle(folder), recipe.arrays("forward_tiny1121_multi.npz")
    assert bundle.preprocess == reference_spec((64, 128))
    generator = bundle.manifest["generator"]
    assert (generator["aspp_branches"], generator["bn"], generator["normalisation"]) == (2, "reference", "caffe")
    assert bundle.manifest["training"]["command"] == "adaptseg-export --from-adaptsegnet released.pth BUNDLE"
    assert set(bundle.manifest["training"]["config"]) == {"label_set", "generator"}
    for name, (seed, shape) in IMAGES.items():
        label_map, logits = fed_normalised(folder / MODEL, recipe.image(seed, shape))
        expected = golden[f"{name}_logits2"]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(label_map, upsample(torch.from_numpy(expected), shape[2:]).argmax(1).numpy())


@recipe.needs_golden
def test_pixels_are_normalised_as_the_authors_do(tmp_path: Path) -> None:
    path, folder = release(tmp_path / "released.pth", "tiny", "single", old=True), tmp_path / "bundle"
    assert main(["--from-adaptsegnet", str(path), str(folder), "--size", "64", "96"]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(folder / MODEL))
    (found,) = session.run(["logits"], {"image": pixels[None]})
    blue_green_red = pixels[..., ::-1].astype(np.float32) - recipe.read_json("labels_lr.json")["img_mean_bgr"]
    image = torch.from_numpy(blue_green_red.transpose(2, 0, 1)[None].astype(np.float32))
    expected = Network(Spec(heads="single", frozen=True))(image)["2"].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@recipe.needs_golden
@pytest.mark.parametrize(("model", "heads"), [("resnet101", "single"), ("vgg16", "single"), ("resnet101", "multi")])
def test_full_releases_say_what_the_authors_networks_say(model: str, heads: str, tmp_path: Path) -> None:
    seed, shape = IMAGES["a"]
    image = recipe.image(seed, shape)
    with torch.no_grad():
        expected = Network(Spec(model=model, heads=heads, frozen=True))(image)["2"]
    found = logits_of(release(tmp_path / "released.pth", model, heads), image)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-4)


@recipe.needs_golden
@pytest.mark.parametrize(("classes", "name"), [(13, "cross-city"), (19, "cityscapes")])
def test_the_number_of_classes_says_which(classes: int, name: str, tmp_path: Path) -> None:
    checkpoint, report = read_release(str(release(tmp_path / "released.pth", "tiny", "multi", classes)))
    assert checkpoint.config.label_set == name
    assert checkpoint.config.generator.resnet_layers == (1, 1, 2, 1)
    aux = {key for key, _ in report.skipped if key.startswith("aux.")}
    assert len(aux) == 8
    assert not report.initial


@recipe.needs_golden
def test_classes_may_be_named_one_by_one(tmp_path: Path) -> None:
    path, names = str(release(tmp_path / "released.pth", "tiny", "single", classes=3)), "road,sky,car"
    checkpoint, _ = read_release(path, names)
    assert checkpoint.config.label_set == names
    with pytest.raises(ConfigError, match="predicts 3 classes; --label-set must say which"):
        read_release(path)
    with pytest.raises(ConfigError, match="--label-set: 'nowhere' is neither"):
        read_release(path, "nowhere")


@pytest.mark.parametrize(
    ("tensors", "label_set", "match"),
    [
        ({"layer5.conv2d_list.0.weight": torch.zeros(21, 2048, 3, 3)}, "", r"predicts 21 classes; --label-set must"),
        ({"layer5.conv2d_list.0.weight": torch.zeros(19, 2048, 3, 3)}, "cross-city", r"predicts 19 classes"),
        ({"layer5.conv2d_list.0.weight": torch.zeros(19, 2048, 3, 3)}, "", r"lacks tensors of its own network"),
        ({"fc.weight": torch.zeros(1000, 2048)}, "", r"no AdaptSegNet head"),
    ],
)
def test_files_that_are_no_release(tensors: dict[str, Tensor], label_set: str, match: str, tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(ConfigError, match=match):
        read_release(str(tmp_path / "file.pth"), label_set)


def test_a_label_set_for_ones_own_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "run"), str(tmp_path / "bundle"), "--label-set", "cityscapes"]) == 2
    assert "--from-adaptsegnet only" in capsys.readouterr().err
