"""Recipe, discriminators, upsampling, preprocessing, label maps, learning rates, logits' sizes, mIoU."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptseg_serve.labels import (
    CITYSCAPES,
    CITYSCAPES_IDS,
    CROSS_CITY,
    CROSS_CITY_13_TRAIN_IDS,
    GTA5_IDS,
    IGNORE_ID,
    SYNTHIA_16_TRAIN_IDS,
    SYNTHIA_IDS,
)
from adaptseg_serve.preprocess import reference_spec, resize_label_map
from adaptseg_training.config import GeneratorConfig, OptimiserConfig
from adaptseg_training.losses import domain_loss
from adaptseg_training.metrics import ConfusionMatrix
from adaptseg_training.models import Discriminator, Normalise, build_generator, upsample
from adaptseg_training.models.official import from_official
from adaptseg_training.optim import discriminator_optimiser, generator_optimiser, poly, set_lr
from golden import recipe

pytestmark = recipe.needs_golden


def test_recipe_makes_the_golden_weights_and_inputs() -> None:
    shapes = recipe.official_shapes("resnet101", "multi")
    d1 = {key: tuple(tensor.shape) for key, tensor in Discriminator(recipe.CLASSES).state_dict().items()}
    for name, check in recipe.read_json("recipe_selfcheck.json").items():
        match name.partition(":"):
            case (key, _, "") if key in shapes:
                tensor = recipe.weight(key, shapes[key], recipe.BASE)
            case ("D1", _, key):
                tensor = recipe.weight(key, d1[key], recipe.BASE + 1)
            case ("image_101", _, _):
                tensor = recipe.image(101, (1, 3, 65, 129))
            case ("label_2000", _, _):
                _check_label(recipe.label(2000, (1, 96, 160)), check)
                continue
            case _:
                pytest.fail(f"unknown entry {name!r} in recipe_selfcheck.json")
        first = tensor.flatten()[: len(check["first4"])].tolist()
        assert first == check["first4"], name
        assert float(tensor.double().sum()) == pytest.approx(check["sum_float64"], rel=1e-12), name


def _check_label(label: Tensor, check: dict[str, Any]) -> None:
    assert label.flatten()[:16].tolist() == check["first16"]
    assert int((label == IGNORE_ID).sum()) == check["n255"]
    assert int(label.sum()) == check["sum"]


DISCRIMINATOR_INPUTS = {301: (1, 19, 64, 128), 302: (2, 19, 97, 161), 303: (1, 19, 32, 32)}


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("seed", DISCRIMINATOR_INPUTS)
def test_discriminator_and_its_losses(seed: int, level: int) -> None:
    golden = recipe.arrays("discriminator.npz")
    z = np.random.RandomState(seed).standard_normal(DISCRIMINATOR_INPUTS[seed])
    probs = torch.from_numpy(3 * z).softmax(1).float()
    with torch.no_grad():
        scores = recipe.discriminator(level)(probs)
    name = f"s{seed}_D{level}"
    np.testing.assert_allclose(scores.numpy(), golden[name], rtol=0, atol=1e-5)
    for domain in (0, 1):
        assert float(domain_loss("vanilla", scores, domain)) == pytest.approx(float(golden[f"{name}_bce_t{domain}"]))
        assert float(domain_loss("ls", scores, domain)) == pytest.approx(
            float(golden[f"{name}_mse_t{domain}"]), rel=1e-4
        )


@pytest.mark.parametrize("channels", [1024, 2048])
def test_discriminator_of_features(channels: int) -> None:
    golden = recipe.arrays("discriminator.npz")[f"feat{channels}_D"]
    z = np.random.RandomState(310).standard_normal((1, channels, 64, 64))
    with torch.no_grad():
        scores = recipe.discriminator(3, channels)(torch.from_numpy(np.abs(z).astype(np.float32)))
    np.testing.assert_allclose(scores.numpy(), golden, rtol=0, atol=1e-4)


def test_upsample_aligns_corners() -> None:
    golden = recipe.arrays("upsample.npz")
    logits = torch.from_numpy(np.random.RandomState(320).standard_normal((1, 19, 9, 17)).astype(np.float32))
    big = upsample(logits, (65, 129))
    assert (big.argmax(1).numpy() == golden["align_True_argmax"]).mean() > 0.9999
    np.testing.assert_allclose(big[:, :3].numpy(), golden["align_True_ch0_2"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(big.double().sum((2, 3)).numpy(), golden["align_True_sum"], rtol=0, atol=1e-2)


def test_preprocessing() -> None:
    golden = recipe.arrays("preprocess.npz")
    random = np.random.RandomState(500)
    image = random.randint(0, 256, (90, 160, 3)).astype(np.uint8)
    labels = random.randint(0, 35, (90, 160)).astype(np.uint8)
    for name, size in (("gta5_image", (64, 128)), ("city_image", (32, 64))):
        spec = reference_spec(size)
        resized = spec.resize_image(image)
        np.testing.assert_allclose(spec.normalise(resized), golden[name], rtol=0, atol=1e-4)
        pixels = torch.from_numpy(resized.transpose(2, 0, 1).copy())[None]
        np.testing.assert_allclose(Normalise(spec)(pixels)[0].numpy(), golden[name], rtol=0, atol=1e-4)
    label_map = CITYSCAPES.to_train_ids()[resize_label_map(labels, (64, 128))]
    np.testing.assert_array_equal(label_map, golden["gta5_label"])


def test_label_maps_and_palette() -> None:
    golden = recipe.read_json("labels_lr.json")
    common = golden["NOT_FROM_ADAPTSEGNET_common_practice"]
    for ids, id_map in (
        (CITYSCAPES_IDS, golden["cityscapes_id_to_trainid"]),
        (GTA5_IDS, golden["gta5_id_to_trainid"]),
        (SYNTHIA_IDS, common["synthia_rand_cityscapes_id_to_trainid"]),
    ):
        expected = np.full(256, IGNORE_ID)
        for key, value in id_map.items():
            expected[int(key)] = value  # -1, Cityscapes' licence plate, lands on 255: ignored as well
        np.testing.assert_array_equal(ids.to_train_ids(), expected)
    palette = CITYSCAPES.palette()
    assert [palette[i].tolist() for i in range(19)] == golden["palette_rgb"][:19]
    assert list(reference_spec((1, 1)).mean) == golden["img_mean_bgr"]


def test_subsets_of_classes() -> None:
    common = recipe.read_json("labels_lr.json")["NOT_FROM_ADAPTSEGNET_common_practice"]
    assert list(SYNTHIA_16_TRAIN_IDS) == common["synthia_16_trainids"]
    assert list(CROSS_CITY_13_TRAIN_IDS) == common["synthia_13_trainids"] == common["crosscity_13_trainids_in_order"]
    assert len(CROSS_CITY) == 13


def test_learning_rates() -> None:
    golden = recipe.read_json("labels_lr.json")["lr_poly"]
    config = OptimiserConfig()
    generator = build_generator(GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"), 2, aux=True)
    sgd = generator_optimiser(generator, config)
    adam = discriminator_optimiser(Discriminator(2), config)
    for i, step in enumerate(golden["iters"]):
        for optimiser in (sgd, adam):
            set_lr(optimiser, poly(step, config))
        found = [group["lr"] for group in sgd.param_groups] + [adam.param_groups[0]["lr"]]
        expected = [golden["G_1x"][i], golden["G_10x"][i], golden["D"][i]]
        assert found == pytest.approx(expected, rel=1e-12), step


def test_sizes_of_logits() -> None:
    generator = build_generator(GeneratorConfig(resnet_layers=(1, 1, 1, 1), weights="none"), 1, aux=False).eval()
    for size, golden in recipe.read_json("output_sizes.json").items():
        height, width = map(int, size.split("x"))
        # Shapes only: no arithmetic is done on meta tensors.
        logits = generator.to("meta")(torch.empty(1, 3, height, width, device="meta"))
        assert list(logits.main.shape[-2:]) == golden["logits"], size


def test_parameter_list_of_the_reference() -> None:
    """Learning-rate group, training flag and number of occurrences of all 640 tensors."""
    for network, aux in (("DeeplabMulti_resnet101", True), ("Res_Deeplab_resnet101", False)):
        golden = recipe.read_json("state_dict_keys.json")[network]
        with torch.device("meta"):
            generator = build_generator(GeneratorConfig(aspp_branches=4, weights="none"), 19, aux)
        optimiser = generator_optimiser(generator, OptimiserConfig(param_groups="legacy"))
        groups = {param: group for group in optimiser.param_groups for param in group["params"]}
        found = {}
        for name, param in generator.named_parameters():
            group = groups.get(param)
            lr_group = "none" if group is None else "1x" if group["lr"] == 2.5e-4 else "10x"
            found[name] = (list(param.shape), param.requires_grad, lr_group, 0 if group is None else group["repeats"])
        fields = ("shape", "requires_grad", "lr_group", "occurrences_in_official_optimizer")
        trained = {key: entry for key, entry in golden.items() if "requires_grad" in entry}
        expected = {name: tuple(trained[key][f] for f in fields) for name, key in _names(list(trained)).items()}
        assert found == expected


def _names(official: list[str]) -> dict[str, str]:
    """Our name -> the official one."""
    renamed = from_official({key: torch.empty(0) for key in official})
    return dict(zip(renamed, official, strict=True))


def test_miou() -> None:
    golden = recipe.arrays("miou.npz")
    matrix = ConfusionMatrix(19)
    for i in range(4):
        random = np.random.RandomState(400 + i)
        truth = CITYSCAPES.to_train_ids()[random.randint(0, 34, (64, 128))]
        right = random.uniform(size=(64, 128)) < 0.6
        guess = random.randint(0, 19, (64, 128))
        matrix.add(truth, _predicted(truth, right, guess, 0))
    np.testing.assert_array_equal(matrix.counts[:, :19], golden["hist"])
    np.testing.assert_allclose(matrix.iou(), golden["iou"], rtol=1e-12)
    assert matrix.miou() == pytest.approx(float(golden["miou"]), rel=1e-12)
    assert matrix.miou(SYNTHIA_16_TRAIN_IDS) == pytest.approx(float(golden["miou16"]), rel=1e-12)
    assert matrix.miou(CROSS_CITY_13_TRAIN_IDS) == pytest.approx(float(golden["miou13"]), rel=1e-12)


def test_miou_skips_absent_classes() -> None:
    golden = recipe.arrays("miou.npz")
    random = np.random.RandomState(450)
    truth = random.choice([0, 1, 2, 5, 255], (64, 128)).astype(np.uint8)
    right = random.uniform(size=(64, 128)) < 0.7
    guess = random.choice([0, 1, 2, 7], (64, 128))
    matrix = ConfusionMatrix(19)
    matrix.add(truth, _predicted(truth, right, guess, 3))
    np.testing.assert_array_equal(matrix.counts[:, :19], golden["nan_hist"])
    np.testing.assert_allclose(matrix.iou(), golden["nan_iou"], rtol=1e-12)
    assert matrix.miou() == pytest.approx(float(golden["nan_miou"]), rel=1e-12)


def _predicted(
    truth: NDArray[np.uint8], right: NDArray[np.bool_], guess: NDArray[Any], instead_of_ignored: int
) -> NDArray[np.uint8]:
    """`truth` where `right`, with its ignored pixels replaced; `guess` elsewhere."""
    return np.where(right, np.where(truth == IGNORE_ID, instead_of_ignored, truth), guess).astype(np.uint8)
