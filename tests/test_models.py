"""Generators against torchvision's networks, shapes, batch-norm modes, preprocessing."""

from collections.abc import Iterator

import pytest
import torch
import torchvision.models.resnet as torchvision_resnet  # type: ignore[import-untyped]
import torchvision.models.vgg as torchvision_vgg  # type: ignore[import-untyped]
from torch import Tensor, nn

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.preprocess import efficientnet_lite_spec, reference_spec, torchvision_spec
from adaptseg_training.config import Backbone, GeneratorConfig
from adaptseg_training.models import Discriminator, Normalise, build_generator, preprocess_spec, upsample
from adaptseg_training.models.aspp import Aspp
from adaptseg_training.models.official import from_torchvision
from adaptseg_training.models.resnet import ResNet
from adaptseg_training.models.vgg import Vgg16

TINY = GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _backbone_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("backbone."): tensor for name, tensor in from_torchvision(tensors).items()}


def test_resnet_is_torchvisions_with_deeplabs_strides_and_dilations() -> None:
    layers = (1, 2, 2, 2)
    theirs = torchvision_resnet.ResNet(
        torchvision_resnet.Bottleneck, layers, replace_stride_with_dilation=[False, True, True]
    ).eval()
    # DeepLab: stride in the 1x1 convolution, and the same dilation in every block of a stage.
    theirs.layer2[0].conv1.stride, theirs.layer2[0].conv2.stride = (2, 2), (1, 1)
    for stage, dilation in ((theirs.layer3, 2), (theirs.layer4, 4)):
        stage[0].conv2.dilation = stage[0].conv2.padding = (dilation, dilation)
    for norm in (m for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.8, 1.2)  # type: ignore[union-attr]
    ours = ResNet(layers).eval()
    report = ours.load_state_dict(_backbone_state(theirs.state_dict()), strict=False)
    assert not report.missing_keys
    assert report.unexpected_keys == ["fc.weight", "fc.bias"]
    images = torch.randn(1, 3, 65, 97)  # odd, so that rounding the max-pool up or down gives the same
    with torch.no_grad():
        stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        conv4 = theirs.layer3(theirs.layer2(theirs.layer1(stem)))
        features = ours(images)
        torch.testing.assert_close(features.conv4, conv4)
        torch.testing.assert_close(features.conv5, theirs.layer4(conv4))


def test_vgg_is_torchvisions_without_the_last_pools() -> None:
    theirs = torchvision_vgg.vgg16(weights=None).features
    ours = Vgg16().eval()
    tensors = {f"features.{name}": tensor for name, tensor in theirs.state_dict().items()}
    report = ours.load_state_dict(_backbone_state(tensors), strict=False)
    assert not report.unexpected_keys
    assert report.missing_keys == [f"layers.{fc}.{kind}" for fc in ("fc6", "fc7") for kind in ("weight", "bias")]
    for conv in (theirs[24], theirs[26], theirs[28]):
        conv.dilation = conv.padding = (2, 2)
    images = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        x = images
        for i, layer in enumerate(theirs):
            if i not in (23, 30):
                x = layer(x)
        for fc in (ours.layers.fc6, ours.layers.fc7):
            assert isinstance(fc, nn.Conv2d)
            x = nn.functional.conv2d(x, fc.weight, fc.bias, padding=4, dilation=4).relu()
        torch.testing.assert_close(ours(images).conv5, x)


@pytest.mark.parametrize(
    ("backbone", "size"), [("resnet101", (9, 17)), ("lite0", (9, 17)), ("vgg16", (8, 16))], ids=lambda v: str(v)
)
def test_logits_have_an_eighth_of_the_image(backbone: Backbone, size: tuple[int, int]) -> None:
    config = GeneratorConfig(backbone=backbone, resnet_layers=(1, 1, 1, 1), weights="none")
    generator = build_generator(config, 5, aux=backbone != "vgg16").eval()
    with torch.no_grad():
        logits = generator(torch.randn(2, 3, 65, 129))
    assert logits.main.shape == (2, 5, *size)
    assert logits.aux is None if backbone == "vgg16" else logits.aux.shape == (2, 5, *size)


def test_the_light_generator_is_light() -> None:
    generator = build_generator(GeneratorConfig(backbone="lite0"), 19, aux=True)
    assert sum(p.numel() for p in generator.parameters()) < 6e6
    assert build_generator(GeneratorConfig(backbone="lite0"), 19, aux=False).aux is None


def test_vgg_has_no_aux_level() -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="vgg16 has no aux level"):
        build_generator(GeneratorConfig(backbone="vgg16", weights="none"), 19, aux=True)


def test_aspp_sums_its_branches() -> None:
    head = Aspp(7, 3, 4)
    x = torch.randn(1, 7, 20, 20)
    convs = list(head.branches)
    parts = [
        nn.functional.conv2d(x, c.weight, c.bias, padding=d, dilation=d)
        for c, d in zip(convs, (6, 12, 18, 24), strict=True)
    ]
    torch.testing.assert_close(head(x), torch.stack(parts).sum(0))
    two = Aspp(7, 3, 2)
    two.load_state_dict({name: t for name, t in head.state_dict().items() if name.split(".")[1] in "01"})
    torch.testing.assert_close(two(x), parts[0] + parts[1])


def test_aspp_starts_small() -> None:
    std = Aspp(512, 19, 4).state_dict()["branches.2.weight"].std()
    assert float(std) == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("backbone", ["resnet101", "lite0"])
def test_batch_norm_modes(backbone: Backbone) -> None:
    def norms(bn: str) -> Iterator[nn.BatchNorm2d]:
        config = GeneratorConfig(backbone=backbone, resnet_layers=(1, 1, 1, 1), weights="none", bn=bn)  # type: ignore[arg-type]
        generator = build_generator(config, 2, aux=False)
        return (m for m in generator.eval().train().modules() if isinstance(m, nn.BatchNorm2d))

    assert not any(norm.training for norm in norms("frozen"))
    assert all(norm.training for norm in norms("reference"))
    assert not any(p.requires_grad for norm in norms("reference") for p in norm.parameters())


@pytest.mark.parametrize(("height", "width", "patches"), [(32, 32, (1, 1)), (97, 161, (3, 5)), (512, 1024, (16, 32))])
def test_discriminator_scores_patches(height: int, width: int, patches: tuple[int, int]) -> None:
    with torch.device("meta"):
        assert Discriminator(19)(torch.empty(1, 19, height, width)).shape == (1, 1, *patches)


def test_upsample_aligns_corners_in_float32() -> None:
    logits = torch.randn(1, 2, 3, 4).bfloat16()
    big = upsample(logits, (17, 25))
    assert big.dtype == torch.float32
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    assert all(torch.equal(big[..., y, x], logits[..., y, x].float()) for y, x in corners)
    assert upsample(logits.double(), (5, 5)).dtype == torch.float64


@pytest.mark.parametrize("spec", [reference_spec((4, 5)), torchvision_spec((4, 5)), efficientnet_lite_spec((4, 5))])
def test_normalise_is_the_spec(spec: object) -> None:
    from adaptseg_serve.preprocess import PreprocessSpec

    assert isinstance(spec, PreprocessSpec)
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    found = Normalise(spec)(images)
    for image, ours in zip(images, found, strict=True):
        expected = spec.normalise(image.permute(1, 2, 0).numpy())
        torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=0, atol=0)
    assert not Normalise(spec).state_dict()


def test_each_backbone_gets_the_images_its_weights_want() -> None:
    size = (8, 9)
    assert preprocess_spec(GeneratorConfig(backbone="lite0"), size) == efficientnet_lite_spec(size)
    assert preprocess_spec(GeneratorConfig(backbone="vgg16", weights="a.safetensors"), size) == torchvision_spec(size)
    assert preprocess_spec(GeneratorConfig(), size) == torchvision_spec(size)
    assert preprocess_spec(GeneratorConfig(weights="released.pth"), size) == reference_spec(size)
    assert preprocess_spec(GeneratorConfig(weights="a.pth", normalisation="torchvision"), size) == torchvision_spec(
        size
    )
