"""Our training, run as a train_*.npz file says and compared with it."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import SGD

from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.levels import reference_levels
from adaptseg_training.models.official import from_official
from adaptseg_training.optim import RepeatingSgd
from golden import recipe
from golden.variants import TARGET_SIZE, Variant, train_variant

Arrays = dict[str, NDArray[Any]]
Snapshot = dict[str, Tensor]

LOSSES = {"seg": "loss_seg{}", "adv": "loss_adv{}", "disc_source": "loss_D{}_src", "disc_target": "loss_D{}_tgt"}
LOSS_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
DELTA_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
# In float32 Adam turns rounding in a gradient near 0 into a whole step of that one element.
ELEMENT_TOLERANCE = {torch.float64: 1e-8, torch.float32: 3e-2}


@dataclass(frozen=True)
class Reading:
    """What a file's name leaves open: the size of source images, and how much faster the heads learn."""

    source_size: tuple[int, int]
    head_lr_factor: float = 10.0


class Torch2Sgd(SGD):
    """The duplicate list under PyTorch 2: its SGD itself, on a list that holds a parameter `repeats` times."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        repeated = [
            {**group, "params": [p for p in group["params"] for _ in range(group["repeats"])]} for group in groups
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimizer contains a parameter group with duplicate parameters")
            super().__init__(repeated, foreach=False)


def check_training(path: Path) -> None:
    """AssertionError, naming loss or tensor, unless our training gives the file's numbers within its tolerances.

    Several readings are tried only where the golden README is silent; the first one's error is the one raised.
    """
    variant, expected = train_variant(path), recipe.arrays(path)
    errors: list[AssertionError] = []
    for reading in readings(variant):
        try:
            return _check(variant, reading, expected)
        except AssertionError as error:
            errors.append(error)
    raise errors[0]


def readings(variant: Variant) -> list[Reading]:
    """The README says the sizes of tiny and resnet101 files, and the heads' rate of networks with lr groups.

    The reference lists VGG-16's parameters in one group, so that its heads may learn no faster.
    """
    if variant.model != "vgg16":
        return [Reading(variant.source_size)]
    return [Reading(size, factor) for size in (variant.source_size, TARGET_SIZE) for factor in (10.0, 1.0)]


def _check(variant: Variant, reading: Reading, expected: Arrays) -> None:
    numbers = level_numbers(expected)
    tensors = recipe.official_tensors(variant.model, "multi" if "aux" in numbers else "single")
    adaptation = _adaptation(variant, reading, tensors, numbers)
    before = _snapshot(adaptation, numbers)
    found = _train(adaptation, variant, reading, _iterations(expected))
    dtype = torch.float64 if variant.double else torch.float32
    _compare_losses(found, expected, numbers, dtype)
    after = _snapshot(adaptation, numbers)
    networks = {name.removesuffix("_names") for name in expected if name.endswith("_names")}
    assert networks <= before.keys(), f"the file has {sorted(networks)}, the variant {sorted(before)}"
    for network in sorted(networks):
        _compare_network(network, expected, before[network], after[network], dtype)


def level_numbers(expected: Arrays) -> dict[str, str]:
    """How the file calls our levels: aux 1 and main 2; a network of one head has main only, as 2, 1 or nothing."""
    if any("layer6" in name for name in expected["G_names"]):
        return {"aux": "1", "main": "2"}
    found = [number for number in ("2", "1", "") if f"loss_seg{number}" in expected]
    assert len(found) == 1, f"losses of a network of one head are called {sorted(expected)}"
    return {"main": found[0]}


def _iterations(expected: Arrays) -> int:
    return int(next(array for name, array in expected.items() if name.startswith("loss_")).shape[0])


def _adaptation(
    variant: Variant, reading: Reading, tensors: Mapping[str, Tensor], numbers: Mapping[str, str]
) -> Adaptation:
    config = variant.config
    config = replace(config, optimiser=replace(config.optimiser, head_lr_factor=reading.head_lr_factor))
    levels = [level for level in reference_levels(config) if level.name in numbers]
    adaptation = Adaptation(config, recipe.CLASSES, torch.device("cpu"), levels)
    adaptation.normalise = nn.Identity()
    recipe.load_official(adaptation.generator, tensors)
    for name, discriminator in adaptation.discriminators.items():
        recipe.load_discriminator(discriminator, recipe.BASE + int(numbers[name] or 1))
    if variant.double:
        adaptation.generator.double()
        adaptation.discriminators.double()
    if variant.groups == "torch2":
        assert isinstance(adaptation.generator_optimiser, RepeatingSgd)
        adaptation.generator_optimiser = Torch2Sgd(adaptation.generator_optimiser.param_groups)
    return adaptation


def _train(adaptation: Adaptation, variant: Variant, reading: Reading, iterations: int) -> list[list[dict[str, float]]]:
    """Losses of each batch of each step; step() itself reports their means only."""
    seen: list[dict[str, float]] = []
    backward = adaptation.backward

    def recording(batch: Batch, share: float = 1.0) -> dict[str, Tensor]:
        losses = backward(batch, share)
        seen.append({name: float(loss) for name, loss in losses.items()})
        return losses

    adaptation.backward = recording  # type: ignore[method-assign]  # one object, watched
    n = variant.accumulate
    for step in range(iterations):
        means = adaptation.step(step, [_batch(variant, reading, step * n + i) for i in range(n)])
        for name, mean in means.items():
            if name != "lr":
                assert mean == pytest.approx(np.mean([each[name] for each in seen[-n:]]), rel=1e-6)
    return [seen[step * n : (step + 1) * n] for step in range(iterations)]


def _batch(variant: Variant, reading: Reading, i: int) -> Batch:
    dtype = torch.float64 if variant.double else torch.float32
    return Batch(
        recipe.image(1000 + i, (1, 3, *reading.source_size)).to(dtype),
        recipe.label(2000 + i, (1, *reading.source_size)),
        recipe.image(3000 + i, (1, 3, *TARGET_SIZE)).to(dtype),
    )


def _snapshot(adaptation: Adaptation, numbers: Mapping[str, str]) -> dict[str, Snapshot]:
    discriminators = {f"D{numbers[name]}": d for name, d in adaptation.discriminators.items()}
    return {
        name: {key: tensor.detach().clone().double() for key, tensor in module.state_dict().items()}
        for name, module in {"G": adaptation.generator, **discriminators}.items()
    }


def _compare_losses(
    found: list[list[dict[str, float]]], expected: Arrays, numbers: Mapping[str, str], dtype: torch.dtype
) -> None:
    golden = {name for name in expected if name.startswith("loss_")}
    ours = {
        pattern.format(number): f"{kind}/{level}"
        for kind, pattern in LOSSES.items()
        for level, number in numbers.items()
    }
    assert golden <= ours.keys(), f"the file has {sorted(golden)}, the variant {sorted(ours)}"
    for name in sorted(golden):
        losses = np.array([[batch[ours[name]] for batch in step] for step in found])
        np.testing.assert_allclose(losses, expected[name], rtol=0, atol=LOSS_TOLERANCE[dtype], err_msg=name)


def _compare_network(network: str, expected: Arrays, before: Snapshot, after: Snapshot, dtype: torch.dtype) -> None:
    names = [str(name) for name in expected[f"{network}_names"]]
    ours = _our_names(names) if network == "G" else {name: name for name in names}
    assert set(ours.values()) >= set(before), f"not in the golden file: {set(before) - set(ours.values())}"
    for row, name in enumerate(names):
        golden = {key: expected[f"{network}_{key}"][row] for key in ("delta_l2", "first8", "delta_first8")}
        if ours[name] not in before:
            # A branch that the reference builds and never computes.
            assert ".conv2d_list." in name
            assert golden["delta_l2"] == 0
            continue
        _compare_tensor(f"{network}: {name}", golden, before[ours[name]], after[ours[name]], dtype)


def _compare_tensor(name: str, golden: Arrays, before: Tensor, after: Tensor, dtype: torch.dtype) -> None:
    delta = after - before
    # What rounding the tensor itself can do to a difference of two of its versions.
    rounding = torch.finfo(dtype).eps * float(before.norm())
    size = float(golden["delta_l2"])
    assert float(delta.norm()) == pytest.approx(size, rel=DELTA_TOLERANCE[dtype], abs=rounding), name
    atol = ELEMENT_TOLERANCE[dtype] * size + rounding
    np.testing.assert_allclose(_first8(delta), golden["delta_first8"], rtol=0, atol=atol, err_msg=name)
    np.testing.assert_allclose(_first8(after), golden["first8"], rtol=0, atol=atol, err_msg=name)


def _first8(tensor: Tensor) -> NDArray[np.float64]:
    flat = tensor.reshape(-1)[:8].numpy()
    return np.pad(flat, (0, 8 - len(flat)))


def _our_names(names: list[str]) -> dict[str, str]:
    """Official name -> ours, by sending the names through the importer."""
    renamed = from_official({name: torch.empty(0) for name in names})
    return dict(zip(names, renamed, strict=True))
