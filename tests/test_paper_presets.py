"""Presets take real steps on tiny data sets of the official layouts, and are what their names and headers say."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers.camvid_tree import write_camvid
from helpers.official_trees import write_cityscapes, write_cross_city, write_gta5, write_synscapes, write_synthia

from adaptseg_serve.labels import find_label_set
from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import TrainConfig
from adaptseg_training.domains import open_domains, step_batches
from adaptseg_training.dry_run import dry_run
from adaptseg_training.levels import active_levels, uses_target
from adaptseg_training.presets import preset_header, preset_names, preset_path

TINY = "--generator.weights none --generator.resnet-layers 1 1 1 1 --run.batch-size 1 --run.workers 0 --run.device cpu"
SIZE = ("32", "64")
STREETS_SIZE = ("64", "64")
"""The renderer draws nothing smaller."""
FEATURE_SIZE = ("256", "256")
"""A discriminator needs 32 x 32 of what it sees, and features are an eighth of the image."""
PAPER = tuple(name for name in preset_names() if name.endswith(("_paper", "_official", "_modern")))
SEEN = {
    "feature": ("", "feature"),
    "single": ("", "output"),
    "entropy": ("entropy", "entropy"),
    **dict.fromkeys(("multi", "smoke", "demo"), ("output", "output")),
    **dict.fromkeys(("source_only", "oracle", "packaged", "dacs", "fda"), ("", "")),
}
"""What aux's and main's discriminators see, by the word for it in a preset's name; nothing where there is none."""


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny data sets, each called as in DomainConfig.dataset."""
    root = tmp_path_factory.mktemp("trees")
    size = (64, 128)
    write_gta5(root / "gta5", size=size)
    write_synthia(root / "synthia", size=size)
    write_synscapes(root / "synscapes", size=size)
    write_cityscapes(root / "cityscapes", size=size)
    write_cross_city(root / "cross_city", size=size)
    # Two classes in every crop: of one alone a random network may say so at once, a loss of 0.
    stripes = np.where(np.arange(size[1]) % 16 < 8, 3, 8).astype(np.uint8)
    label_maps = {name: np.tile(stripes, (size[0], 1)) for name in ("0006R0_1", "0001TP_2")}
    for split in ("train", "val"):
        write_camvid(root / "camvid", label_maps, split)
    write_camvid(root, label_maps, "synthetic_streets")
    (root / "frames").symlink_to(root / "camvid" / "train" / "images")
    return root


@cache
def config_of(name: str) -> TrainConfig:
    return parse_command([name])[1]


@cache
def tiny(name: str, trees: Path, *flags: str) -> TrainConfig:
    """The preset on the tiny data, with a network of four blocks and small images."""
    config = config_of(name)
    argv = [name, *TINY.split()]
    size = STREETS_SIZE if config.source.dataset == "streets" else SIZE
    if config.main.space == "feature":  # at this size even a ResNet of four blocks takes 10 s
        size = FEATURE_SIZE
        argv += ["--generator.backbone", "lite0"]
    for domain in ("source", "target", "evaluate"):
        described = getattr(config, domain)
        if described is not None:
            argv += [f"--{domain}.size", *size]
            if described.dataset != "streets":
                argv += [f"--{domain}.root", str(trees / described.dataset)]
    return parse_command([*argv, *flags])[1]


def told(config: TrainConfig, name: str) -> str:
    lines: list[str] = []
    assert dry_run(config, name, say=lines.append) == 0
    return "\n".join(lines)


def structure(config: TrainConfig) -> tuple[object, ...]:
    """What decides the network, the losses and the optimiser: data, names and numbers above 0 don't."""
    generator, optimiser = config.generator, config.optimiser
    levels = [(level.seg_weight > 0, level.adv_weight > 0, level.space) for level in (config.aux, config.main)]
    ways = (config.balance_shares > 1, config.fourier > 0, config.self_training.weight > 0, optimiser.average > 0)
    steps = (optimiser.algorithm, optimiser.nesterov, optimiser.param_groups, optimiser.accumulate)
    networks = (replace(generator, weights=""), config.target is None)
    return networks, *levels, config.gan, ways, steps, config.run.precision


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_adapts_as_its_name_says(name: str) -> None:
    config = config_of(name)
    seen = {level.name: level.space for level in active_levels(config) if level.adapts and config.target}
    expected = next(expected for word, expected in SEEN.items() if word in name)
    assert (seen.get("aux", ""), seen.get("main", "")) == expected
    assert (config.self_training.weight > 0, config.fourier > 0) == ("_dacs_" in name, "_fda_" in name)
    assert uses_target(config) == (bool(seen) or "_dacs_" in name or "_fda_" in name)
    assert (config.gan == "ls") == ("_ls_" in name or name.endswith("multi_modern"))
    assert (config.balance_shares > 1) == ("_balanced_" in name or name == "demo")
    light = name.endswith("_lite0") or name.startswith(("demo", "smoke", "packaged"))
    assert config.generator.backbone == ("vgg16" if "_vgg16" in name else "lite0" if light else "resnet101")


@pytest.mark.parametrize("name", preset_names())
def test_a_presets_first_batch_is_what_it_trains_on(name: str, trees: Path) -> None:
    config = tiny(name, trees)
    (batch,) = next(step_batches(config, open_domains(config), 0, pin=False, skipped=print))
    assert batch.source_images.shape == (1, 3, *config.source.size)
    assert set(batch.source_labels.unique().tolist()) <= {*range(len(find_label_set(config.label_set))), 255}
    assert (batch.target_images is not None) == uses_target(config)


@pytest.fixture(scope="module")
def stepped() -> set[object]:
    """Structures of which a preset has taken its steps."""
    return set()


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_of_each_structure_takes_three_steps(
    name: str, trees: Path, stepped: set[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny(name, trees)
    if structure(config) in stepped:
        return
    stepped.add(structure(config))
    said = told(config, name)
    assert re.search(r"seg/main \d+\.\d+", said), said
    for level in ("aux", "main"):
        adapts = getattr(config, level).adv_weight > 0 and config.target is not None
        assert (f"adv/{level} " in said) == adapts
        assert (f"{level} discriminator" in said) == adapts
    assert list(tmp_path.iterdir()) == [], "a dry run writes nothing"


@pytest.mark.parametrize("name", PAPER)
def test_a_preset_of_the_paper_is_what_its_name_says(name: str) -> None:
    config = config_of(name)
    generator, optimiser = config.generator, config.optimiser
    family = (generator.aspp_branches, generator.bn, optimiser.param_groups, optimiser.nesterov, optimiser.weight_decay)
    assert (
        family
        == {
            "paper": (4, "reference", "dedup", True, 1e-4),
            "official": (2, "reference", "legacy", False, 5e-4),
            "modern": (4, "frozen", "dedup", False, 5e-4),
        }[name.rpartition("_")[2]]
    )
    assert (optimiser.average > 0) == name.endswith("_modern"), "the paper scores the last weights"
    assert (config.target is None) == ("source_only" in name or "oracle" in name)
    assert (optimiser.schedule_steps, config.run.stop_step) == (250_000, 150_000)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("gta5_to_cityscapes_multi_paper", (0.1, 0.0002, 0.001)),
        ("gta5_to_cityscapes_multi_official", (0.1, 0.00005, 0.0005)),
        ("gta5_to_cityscapes_single_paper", (0, 0, 0.001)),
        ("gta5_to_cityscapes_single_ls_official", (0, 0, 0.01)),
        ("cityscapes_to_rome_multi_paper", (0.1, 0.0005, 0.0005)),
    ],
)
def test_the_lambdas_are_those_of_the_design(name: str, weights: Sequence[float]) -> None:
    config = config_of(name)
    assert (config.aux.seg_weight, config.aux.adv_weight, config.main.adv_weight) == tuple(weights)
    assert config.main.seg_weight == 1


def test_every_preset_of_the_paper_is_in_its_document_and_names_no_other() -> None:
    document = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_]+_(?:paper|official|modern))`", document))
    assert named == set(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_the_published_figure_in_a_header_is_the_documents(name: str) -> None:
    """A row that names a preset and gives a published mIoU gives the one in the preset's header."""
    document = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
    figures = re.findall(r"\d\d\.\d", preset_header(name).reproduces)
    rows = [line for line in document.splitlines() if f"`{name}`" in line]
    assert all(any(figure in row for row in rows) for figure in figures)


def test_a_dry_run_tells_what_the_run_would_do(trees: Path) -> None:
    name = "gta5_to_cityscapes_multi_paper"
    said = told(tiny(name, trees, "--run.dir", "elsewhere"), name)
    for part in (
        "level aux: segmentation 0.1, adversarial 0.0002 on output, binary cross-entropy",
        "SGD: lr 0.00025, momentum 0.9 (Nesterov), heads x10, weight decay 0.0001, dedup groups",
        "poly 0.9 over 250000 steps, stop at 150000",
        "source: gta5: 3 images, the first 64x128 -> 32x64, labels: cityscapes",
        "target: cityscapes train: 4 images",
        "evaluate: cityscapes val: 2 images",
        "classes: cityscapes (19)",
        "memory of this process",
        "150000 steps: about ",
        f"elsewhere/{name}/",
    ):
        assert part in said


def test_the_presets_lie_as_readable_files() -> None:
    for name in PAPER:
        lines = preset_path(name).read_text().splitlines()
        assert len(lines) < 30
        assert max(map(len, lines)) <= 120


def test_the_rows_of_classes_in_the_document_have_the_means_beside_them() -> None:
    document = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in document.splitlines() if line[:1] == "|"]
    rows = [row for row in cells if len(row) in (15, 21) and re.fullmatch(r"\d+\.\d", row[-1])]
    assert len(rows) == 10 + 8 + 13
    for name, *ious, mean in rows:
        assert np.mean([float(iou) for iou in ious]) == pytest.approx(float(mean), abs=0.06), name
