"""Whole training iterations of every train_*.npz: losses, parameters, buffers."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import SGD

from adaptseg_training.adaptation import Adaptation, Batch
from adaptseg_training.levels import reference_levels
from adaptseg_training.models.official import from_official
from adaptseg_training.optim import RepeatingSgd
from golden import recipe
from golden.variants import Variant, train_variant

Arrays = dict[str, NDArray[Any]]
Snapshot = dict[str, Tensor]

LOSSES = {"seg": "loss_seg{}", "adv": "loss_adv{}", "disc_source": "loss_D{}_src", "disc_target": "loss_D{}_tgt"}
LOSS_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
DELTA_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
# In float32 Adam turns rounding in a gradient near 0 into a whole step of that one element.
ELEMENT_TOLERANCE = {torch.float64: 1e-8, torch.float32: 3e-2}


class Torch2Sgd(SGD):
    """The duplicate list under PyTorch 2: its SGD itself, on a list that holds a parameter `repeats` times."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        repeated = [
            {**group, "params": [p for p in group["params"] for _ in range(group["repeats"])]} for group in groups
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimizer contains a parameter group with duplicate parameters")
            super().__init__(repeated, foreach=False)


@pytest.mark.parametrize("path", recipe.files("train_*.npz"))
def test_training(path: Path) -> None:
    variant = train_variant(path)
    expected = recipe.arrays(path)
    tensors = recipe.official_tensors(variant.model, _heads(expected))
    adaptation = _adaptation(variant, tensors)
    before = _snapshot(adaptation)
    found = _train(adaptation, variant, _iterations(expected))
    dtype = torch.float64 if variant.double else torch.float32
    _compare_losses(found, expected, dtype)
    after = _snapshot(adaptation)
    for network in ("G", "D1", "D2"):
        if f"{network}_names" in expected:
            _compare_network(network, expected, before[network], after[network], dtype)


def _heads(expected: Arrays) -> str:
    return "multi" if any("layer6" in name for name in expected["G_names"]) else "single"


def _iterations(expected: Arrays) -> int:
    return int(next(array for name, array in expected.items() if name.startswith("loss_")).shape[0])


def _adaptation(variant: Variant, tensors: Mapping[str, Tensor]) -> Adaptation:
    config = variant.config
    levels = reference_levels(config)
    if not any("layer6" in key for key in tensors):
        levels = tuple(level for level in levels if level.name == "main")
    adaptation = Adaptation(config, recipe.CLASSES, torch.device("cpu"), levels)
    adaptation.normalise = nn.Identity()
    recipe.load_official(adaptation.generator, tensors)
    for name, discriminator in adaptation.discriminators.items():
        recipe.load_discriminator(discriminator, recipe.BASE + (1 if name == "aux" else 2))
    if variant.double:
        adaptation.generator.double()
        adaptation.discriminators.double()
    if variant.groups == "torch2":
        assert isinstance(adaptation.generator_optimiser, RepeatingSgd)
        adaptation.generator_optimiser = Torch2Sgd(adaptation.generator_optimiser.param_groups)
    return adaptation


def _train(adaptation: Adaptation, variant: Variant, iterations: int) -> list[list[dict[str, float]]]:
    """Losses of each batch of each step; step() itself reports their means only."""
    seen: list[dict[str, float]] = []
    backward = adaptation.backward

    def recording(batch: Batch, share: float = 1.0) -> dict[str, Tensor]:
        losses = backward(batch, share)
        seen.append({name: float(loss) for name, loss in losses.items()})
        return losses

    adaptation.backward = recording  # type: ignore[method-assign]
    n = variant.accumulate
    for step in range(iterations):
        means = adaptation.step(step, [_batch(variant, step * n + i) for i in range(n)])
        for name, mean in means.items():
            if name != "lr":
                assert mean == pytest.approx(np.mean([each[name] for each in seen[-n:]]), rel=1e-6)
    return [seen[step * n : (step + 1) * n] for step in range(iterations)]


def _batch(variant: Variant, i: int) -> Batch:
    source = (64, 128) if variant.model == "resnet101" else (96, 160)
    dtype = torch.float64 if variant.double else torch.float32
    return Batch(
        recipe.image(1000 + i, (1, 3, *source)).to(dtype),
        recipe.label(2000 + i, (1, *source)),
        recipe.image(3000 + i, (1, 3, 64, 128)).to(dtype),
    )


def _snapshot(adaptation: Adaptation) -> dict[str, Snapshot]:
    modules = {"G": adaptation.generator, **{_d(name): d for name, d in adaptation.discriminators.items()}}
    return {
        name: {key: tensor.detach().clone().double() for key, tensor in module.state_dict().items()}
        for name, module in modules.items()
    }


def _d(level: str) -> str:
    return "D1" if level == "aux" else "D2"


def _compare_losses(found: list[list[dict[str, float]]], expected: Arrays, dtype: torch.dtype) -> None:
    golden = {name for name in expected if name.startswith("loss_")}
    ours = {
        pattern.format("1" if level == "aux" else "2"): f"{kind}/{level}"
        for kind, pattern in LOSSES.items()
        for level in ("aux", "main")
    }
    assert golden <= ours.keys(), f"unknown losses {golden - ours.keys()}"
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
