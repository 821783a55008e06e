"""The commands behind an adaptation table: profiles (how long, how large), and a plan for each row and seed."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Gap = Literal["streets_to_camvid", "day_to_dusk"]
SOURCE_ROWS = ("base", "control", "control_stage2", "source_only", "oracle")
"""Rows that see no unlabelled image."""
SPLITS: dict[Gap, str] = {"streets_to_camvid": "val", "day_to_dusk": "dusk"}
PAPER, BEYOND = ("feature", "single", "multi", "multi_ls"), ("entropy", "fda", "dacs")
Size = tuple[int, int]


@dataclass(frozen=True)
class Profile:
    """How long and how large; lengths in steps, sizes (height, width)."""

    flags: tuple[str, ...] = ()
    size: Size | None = None
    """Of the training images; None: the presets'."""
    base_size: Size | None = None
    """`size` of the warm start, where it is another."""
    base_flags: tuple[str, ...] | None = None
    """`flags` of the warm start, where they are others."""
    backbone: str = "lite0"
    rows: tuple[str, ...] = ("source_only", *PAPER, *BEYOND, "oracle")
    warm_start: int = 0
    """Steps of the source-only run that the other rows start from; 0: from ImageNet."""
    more: int = 0
    """Steps of each row after the warm start."""
    second: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Rows of a second stage: whose preset each has, and which row it goes on from."""
    second_more: int = 0
    """Steps of each such row."""
    second_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`flags` of such rows, where they are others."""
    evaluate_every: int = 60
    base_evaluate_every: int | None = None
    """`evaluate_every` of the warm start, where it is another's."""

    @property
    def all_rows(self) -> tuple[str, ...]:
        """In the order they are trained."""
        first = ("base",) if self.warm_start else ()
        oracle = tuple(row for row in self.rows if row == "oracle")
        return (*first, *(row for row in self.rows if row not in oracle), *self.second, *oracle)

    def flags_of(self, row: str) -> tuple[str, ...]:
        if row == "base" and self.base_flags is not None:
            return self.base_flags
        return self.second_flags.get(row, self.flags)

    def floor(self, row: str) -> str:
        if row in self.second and "control_stage2" in self.second:
            return "control_stage2"
        return "control" if self.warm_start else "source_only"

    def preset(self, gap: str, row: str) -> str:
        row = self.second[row][0] if row in self.second else row
        return f"{gap}_{'source_only' if row in ('base', 'control') else row}_{self.backbone}"


QUICK = ("--run.workers", "1", "--run.preview-every", "0", "--run.checkpoint-every", "60", "--evaluate.every", "2")
ADAMW = ("--optimiser.algorithm", "adamw", "--optimiser.lr", "1e-4", "--optimiser.weight-decay", "0.01")
SMALL, LARGE = (192, 256), (264, 352)
LAST = ("--optimiser.average", "0")
"""The last weights are scored, as in the paper, and not the presets' average."""
BF16 = (*QUICK, "--run.precision", "bf16", *ADAMW)
"""A processor with AMX takes a quarter of fp32's time for VGG-16's convolutions in bf16; AdamW needs fewer steps."""
LITE = (*QUICK, *LAST)
AMX, AVERAGED = (*BF16, *LAST), (*BF16, "--optimiser.average", "0.99")
PROFILES = {
    "full": Profile(),
    "full_vgg16": Profile(
        backbone="vgg16", rows=("source_only", "feature", "single", "single_ls", "fda", "dacs", "oracle")
    ),
    # Features of 192x256 images are too small for five halvings: no feature-level row.
    "short": Profile(
        LITE,
        SMALL,
        rows=("control", "single", "multi", "multi_ls", *BEYOND, "oracle"),
        warm_start=240,
        more=120,
    ),
    # Twice the pixels, so that features can be halved five times; from the warm start of "short".
    "feature": Profile(LITE, LARGE, SMALL, rows=("control", "feature", "single", "multi"), warm_start=240, more=120),
    # Longer, with the average that a long adversarial run needs.
    "averaged_long": Profile(
        (*QUICK, "--optimiser.average", "0.99"),
        SMALL,
        rows=("control", "multi_ls", "multi_ls_balanced"),
        base_flags=LITE,
        warm_start=360,
        more=540,
        evaluate_every=90,
    ),
    "short_vgg16": Profile(
        AMX,
        SMALL,
        backbone="vgg16",
        rows=("control", "single", "single_ls", "fda", "dacs", "oracle"),
        warm_start=360,
        more=360,
    ),
    # Adversarial training swings; a moving average of the generator's weights doesn't.
    "averaged_vgg16": Profile(
        AVERAGED,
        SMALL,
        backbone="vgg16",
        rows=("control", "single", "single_ls"),
        base_flags=AMX,
        warm_start=360,
        more=360,
    ),
    # As "feature": from the warm start of the others.
    "feature_vgg16": Profile(
        AMX,
        LARGE,
        SMALL,
        backbone="vgg16",
        rows=("control", "feature", "single"),
        warm_start=360,
        more=360,
        evaluate_every=120,
        base_evaluate_every=60,
    ),
    # The rows part after two hundred adversarial steps: thrice as many, and self-training as a second stage.
    "long_vgg16": Profile(
        AMX,
        SMALL,
        backbone="vgg16",
        rows=("control", "single_ls", "oracle"),
        warm_start=360,
        more=1080,
        second={"control_stage2": ("control", "control"), "dacs_stage2": ("dacs", "single_ls")},
        second_more=360,
        evaluate_every=180,
    ),
    # In long runs the generator fools its discriminator; one that learns four times as fast stays ahead.
    "fast_discriminator_vgg16": Profile(
        (*AVERAGED, "--optimiser.discriminator-lr", "4e-4"),
        SMALL,
        backbone="vgg16",
        rows=("control", "single", "single_ls"),
        base_flags=AMX,
        warm_start=360,
        more=1080,
        evaluate_every=180,
    ),
    # Both: length, and the average that length needs. Self-training's teacher is an average already.
    "averaged_long_vgg16": Profile(
        AVERAGED,
        SMALL,
        backbone="vgg16",
        rows=("control", "single_ls", "single_ls_balanced"),
        base_flags=AMX,
        warm_start=360,
        more=1080,
        second={
            "control_stage2": ("control", "control"),
            "dacs_stage2": ("dacs", "single_ls_balanced"),
            "both_stage2": ("single_ls_balanced", "single_ls_balanced"),
        },
        second_more=360,
        second_flags={"dacs_stage2": AMX, "both_stage2": (*AMX, "--self-training.weight", "1")},
        evaluate_every=180,
    ),
}


@dataclass(frozen=True)
class Plan:
    """One row of one seed: the arguments of adaptseg-train but for the run's place."""

    gap: Gap
    row: str
    seed: int
    arguments: tuple[str, ...]
    stop_step: int | None
    after: str | None
    """The row that it goes on from."""
    floor: str
    """The row that its gain is over: as long, and without an unlabelled image."""

    @property
    def name(self) -> str:
        return f"{self.gap}_{self.row}_s{self.seed}"


def plan_of(profile: Profile, gap: Gap, row: str, seed: int, options: argparse.Namespace) -> Plan:
    """`options`: camvid, streets, out, bases and vgg_weights of the command line."""
    source = options.streets if gap == "streets_to_camvid" and row != "oracle" else options.camvid
    roots = ["--source.root", str(source), "--evaluate.root", str(options.camvid)]
    flags = [*profile.flags_of(row), "--run.seed", str(seed)]
    weights = options.vgg_weights if profile.backbone == "vgg16" else "imagenet"
    domains = ("source",) if row in SOURCE_ROWS else ("source", "target")
    if "target" in domains:
        roots += ["--target.root", str(options.camvid)]
    if size := (row == "base" and profile.base_size) or profile.size:
        for domain in (*domains, "evaluate"):
            flags += [f"--{domain}.size", *map(str, size)]
    stop = after = None
    if profile.warm_start:
        whole = profile.warm_start + profile.more
        more = profile.second_more if row in profile.second else profile.more
        stop, schedule = {"base": (profile.warm_start, whole), "oracle": (whole, whole)}.get(row, (more, more))
        flags += ["--run.stop-step", str(stop), "--optimiser.schedule-steps", str(schedule)]
        every = (row == "base" and profile.base_evaluate_every) or profile.evaluate_every
        flags += ["--run.evaluate-every", str(every)]
        if row not in ("base", "oracle"):
            after = profile.second[row][1] if row in profile.second else "base"
            steps = profile.warm_start if after == "base" else profile.more
            start = place(after, options) / f"{gap}_{after}_s{seed}" / "checkpoints" / f"step_{steps:08d}"
            weights = str(start / "generator.safetensors")
    arguments = (profile.preset(gap, row), *roots, *flags, "--generator.weights", weights)
    return Plan(gap, row, seed, arguments, stop, after, profile.floor(row))


def place(row: str, options: argparse.Namespace) -> Path:
    """The folder that the row's run is in."""
    return Path(options.bases if row == "base" and options.bases else options.out)
