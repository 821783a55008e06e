"""Weights files of every kind that users have, and of kinds that they had better not load."""

import os
import pickle
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.resnet import Bottleneck, ResNet

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import GeneratorConfig
from adaptseg_training.models import Generator, build_generator
from adaptseg_training.models.official import from_official
from adaptseg_training.models.tensor_files import read_tensors
from adaptseg_training.models.weights import WeightsReport, load_tensors, rename

TINY = GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none", aspp_branches=2)
SHARED_VGG = Path(__file__).parents[2] / "shared" / "weights" / "vgg16_imagenet_features.fp16.safetensors"


def _generator(aux: bool = True, classes: int = 19) -> Generator:
    return build_generator(TINY, classes, aux)


def _official(aux: bool, classes: int = 19) -> dict[str, Tensor]:
    """A state dict as the reference code writes it: four branches per head."""
    generator = _generator(aux)
    heads = {"layer5": 1024, "layer6": 2048} if aux else {"layer5": 2048}
    tensors = {
        name.removeprefix("backbone."): torch.randn_like(tensor.float())
        for name, tensor in generator.state_dict().items()
        if name.startswith("backbone.")
    }
    for head, channels in heads.items():
        for i in range(4):
            tensors[f"{head}.conv2d_list.{i}.weight"] = torch.randn(classes, channels, 3, 3)
            tensors[f"{head}.conv2d_list.{i}.bias"] = torch.randn(classes)
    return tensors


def _load(generator: Generator, tensors: dict[str, Tensor]) -> WeightsReport:
    return load_tensors(generator, from_official(tensors), "test")


def test_multi_level_release() -> None:
    generator, tensors = _generator(), _official(aux=True)
    report = _load(generator, tensors)
    assert not report.initial
    assert {name for name, _ in report.skipped} == {
        f"{level}.branches.{i}.{kind}" for level in ("aux", "main") for i in (2, 3) for kind in ("weight", "bias")
    }
    state = generator.state_dict()
    assert torch.equal(state["aux.branches.1.weight"], tensors["layer5.conv2d_list.1.weight"])
    assert torch.equal(state["main.branches.0.bias"], tensors["layer6.conv2d_list.0.bias"])
    assert torch.equal(state["backbone.layer4.0.conv3.weight"], tensors["layer4.0.conv3.weight"])


def test_layer5_of_a_single_level_release_is_the_main_head() -> None:
    generator, tensors = _generator(), _official(aux=False)
    report = _load(generator, tensors)
    assert set(report.initial) == {f"aux.branches.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}
    assert torch.equal(generator.main.branches[0].weight, tensors["layer5.conv2d_list.0.weight"])  # type: ignore[arg-type]


def test_multi_level_release_in_a_single_level_generator() -> None:
    generator, tensors = _generator(aux=False), _official(aux=True)
    report = _load(generator, tensors)
    assert not report.initial
    assert "aux.branches.0.weight" in dict(report.skipped)
    assert torch.equal(generator.main.branches[0].weight, tensors["layer6.conv2d_list.0.weight"])  # type: ignore[arg-type]


def test_old_file_with_prefix_and_without_counters() -> None:
    tensors = {f"Scale.{name}": t for name, t in _official(aux=False, classes=21).items() if "num_batches" not in name}
    report = _load(_generator(), tensors)
    assert dict(report.skipped)["main.branches.0.weight"] == "shape (21, 2048, 3, 3), wanted (19, 2048, 3, 3)"
    assert all(name.startswith(("aux.", "main.")) for name in report.initial)
    assert len(report.initial) == 8


@pytest.mark.parametrize("new_format", [True, False])
def test_other_class_count_skips_the_heads_only(tmp_path: Path, new_format: bool) -> None:
    """In both formats: the authors' files are older than PyTorch's zip files."""
    torch.save(_official(aux=True), tmp_path / "released.pth", _use_new_zipfile_serialization=new_format)
    generator = _generator(classes=13)
    report = load_tensors(generator, rename(read_tensors(str(tmp_path / "released.pth"))), "released.pth")
    assert all(name.startswith("backbone.") for name in report.loaded)
    assert "skipped main.branches.0.weight: shape (19, 2048, 3, 3), wanted (13, 2048, 3, 3)" in str(report)
    assert "left at initialisation: aux (4 tensors), main (4 tensors)" in str(report)


def test_half_precision_vgg_features_by_torchvisions_names(tmp_path: Path) -> None:
    generator = build_generator(GeneratorConfig(backbone="vgg16", weights="none"), 3, aux=False)
    indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    convs = [p for name, p in generator.state_dict().items() if ".conv" in name]
    names = [f"features.{i}.{kind}" for i in indices for kind in ("weight", "bias")]
    tensors = {name: torch.randn(p.shape).half() for name, p in zip(names, convs, strict=True)}
    path = tmp_path / "vgg.safetensors"
    save_file(tensors, path)
    loaded = build_generator(GeneratorConfig(backbone="vgg16", weights=str(path)), 3, aux=False)
    last = loaded.state_dict()["backbone.layers.conv5_3.weight"]
    assert torch.equal(last, tensors["features.28.weight"].float())


def test_torchvisions_resnet_gives_the_backbone_and_the_report_says_so(tmp_path: Path) -> None:
    theirs = ResNet(Bottleneck, [1, 1, 1, 1])
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    generator = _generator()
    report = load_tensors(generator, rename(read_tensors(str(tmp_path / "resnet.pth"))), "resnet.pth")
    assert {name for name, _ in report.skipped} == {"backbone.fc.weight", "backbone.fc.bias"}
    assert {name.split(".")[0] for name in report.initial} == {"aux", "main"}
    assert len(report.loaded) == len(theirs.state_dict()) - 2
    ours = generator.state_dict()["backbone.layer4.0.downsample.0.weight"]
    assert torch.equal(ours, theirs.state_dict()["layer4.0.downsample.0.weight"])


@pytest.mark.skipif(not SHARED_VGG.is_file(), reason=f"no {SHARED_VGG.name} beside the repository")
def test_imagenet_vgg_features() -> None:
    generator = build_generator(GeneratorConfig(backbone="vgg16", weights="none"), 3, aux=False)
    report = load_tensors(generator, rename(read_tensors(str(SHARED_VGG))), SHARED_VGG.name)
    assert len(report.loaded) == 26
    assert not report.skipped
    assert {name.split(".")[2] for name in report.initial if name.startswith("backbone")} == {"fc6", "fc7"}


def test_own_weights_come_back(tmp_path: Path) -> None:
    generator = _generator()
    save_file(generator.state_dict(), tmp_path / "generator.safetensors")
    config = replace(TINY, weights=str(tmp_path / "generator.safetensors"), normalisation="torchvision")
    again = build_generator(config, 19, aux=True)
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in generator.state_dict().items())


def test_light_imagenet_weights_are_all_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        generator = build_generator(GeneratorConfig(backbone="lite0"), 19, aux=False)
    assert "288 tensors loaded" in caplog.text
    assert "skipped" not in caplog.text
    assert float(generator.state_dict()["backbone.stem.1.running_var"].mean()) != 1


def test_a_file_that_may_want_either_normalisation_is_not_guessed_about(tmp_path: Path) -> None:
    own, released = str(tmp_path / "own.safetensors"), str(tmp_path / "released.pth")
    save_file(_generator().state_dict(), own)
    torch.save(_official(aux=True), released)
    with pytest.raises(ConfigError, match=r"--generator\.normalisation caffe"):
        build_generator(replace(TINY, weights=own), 19, aux=True)
    build_generator(replace(TINY, weights=own, normalisation="torchvision"), 19, aux=True)
    build_generator(replace(TINY, weights=released), 19, aux=True)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_strangers_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": _Bomb()}, "stranger.pth")
    Path("plain.pth").write_bytes(pickle.dumps(_Bomb()))
    for name in ("stranger.pth", "plain.pth"):
        with pytest.raises(ConfigError, match="holds more than tensors, or is damaged"):
            read_tensors(name)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("name", ["half.pth", "half.safetensors", "empty.pth", "list.pth"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "list.pth":
        torch.save([torch.zeros(2)], path)
    elif name.endswith(".pth"):
        torch.save(_official(aux=False), path)
    else:
        save_file(_official(aux=False), path)
    if not name.startswith("list"):
        path.write_bytes(path.read_bytes()[: 0 if name.startswith("empty") else 5000])
    with pytest.raises(ConfigError, match=name):
        read_tensors(str(path))


def test_missing_file_and_foreign_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no weights file nowhere\.pth"):
        build_generator(GeneratorConfig(weights="nowhere.pth"), 19, aux=False)
    torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    config = replace(TINY, weights=str(tmp_path / "foreign.pth"), normalisation="caffe")
    with pytest.raises(ConfigError, match=r"no tensor of .*foreign\.pth fits resnet101"):
        build_generator(config, 19, aux=False)


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(ConfigError, match=r"--generator\.weights PATH"):
        build_generator(GeneratorConfig(), 19, aux=False)
