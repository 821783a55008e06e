"""An unreadable file is named, and with skip_unreadable replaced: the same way in any worker and after any resume."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.official_trees import write_gta5
from helpers.runs import assert_same_run, losses, train

from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.config import DomainConfig, TrainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.loading import MOST_SKIPS, SampleStream, batches
from adaptseg_training.data.prepare import Pair, Preparer, label_table
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.data.sampler import sample_index
from adaptseg_training.data.skipping import Skips
from adaptseg_training.errors import DataError

FRAMES, SEED = 6, 5


@pytest.fixture
def gta5(tmp_path: Path) -> Path:
    """Six frames; the image of the second and the labels of the fifth are torn."""
    write_gta5(tmp_path, frames=FRAMES)
    for name in ("images/00002.png", "labels/00005.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    return tmp_path


def stream_of(root: Path, skip: bool) -> tuple[ImageSet, SampleStream]:
    images = open_domain(DomainConfig("gta5", (root,)), "source")
    preparer = Preparer(PreprocessSpec((48, 80)), True, label_table(images, "cityscapes", "source"))
    return images, SampleStream(images, preparer, SEED, skip)


def take(stream: SampleStream, first: int, count: int, workers: int) -> tuple[list[Pair], list[str]]:
    errors: list[DataError] = []
    endless = batches(stream, first, 2, workers, pin=False, skipped=errors.append)
    pairs = [next(endless) for _ in range(count)]
    return pairs, [str(e) for e in errors]


def same(ours: Sequence[Pair], others: Sequence[Pair]) -> bool:
    pairs = zip(ours, others, strict=True)
    return all(torch.equal(a, b) for pair, other in pairs for a, b in zip(pair, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_without_the_option_the_first_unreadable_file_ends_the_batches(gta5: Path, workers: int) -> None:
    with pytest.raises(DataError, match=r"0000[25]\.png is not a readable"):
        take(stream_of(gta5, skip=False)[1], 0, FRAMES, workers)


def test_skipped_samples_are_the_same_from_any_start_with_any_workers(gta5: Path) -> None:
    stream = stream_of(gta5, skip=True)[1]
    whole, errors = take(stream, 0, 9, workers=0)
    resumed, later_errors = take(stream, 4, 5, workers=2)
    assert same(whole[4:], resumed)
    assert errors[-len(later_errors) :] == later_errors
    assert {Path(e.split(" is ")[0]).name for e in errors} == {"00002.png", "00005.png"}
    assert len(errors) >= 2 * 9 * 2 // FRAMES, "each of three rounds meets both torn files"


def test_the_next_positions_sample_takes_the_place(gta5: Path) -> None:
    images, stream = stream_of(gta5, skip=True)
    order = [sample_index(SEED, position, FRAMES) for position in range(FRAMES + 2)]
    position = order.index(1)
    stand_in = next(p for p in range(position + 1, FRAMES + 2) if order[p] not in (1, 4))
    fetched = stream[position]
    assert fetched.pair is not None
    expected = stream._preparer(images[order[stand_in]], np.random.default_rng((SEED, position, 1)))
    assert same([fetched.pair], [expected])
    assert len(fetched.errors) == stand_in - position


def test_a_data_set_without_a_readable_file_ends_the_batches(gta5: Path) -> None:
    for path in (gta5 / "images").iterdir():
        path.write_bytes(b"torn")
    with pytest.raises(DataError, match="is not a readable image"):
        take(stream_of(gta5, skip=True)[1], 0, 1, workers=1)
    assert len(stream_of(gta5, skip=True)[1][0].errors) == MOST_SKIPS


def test_each_file_is_named_once_and_every_time_counted() -> None:
    said: list[str] = []
    skips = Skips(TrainConfig(source=DomainConfig(skip_unreadable=True)), said.append)
    assert (skips.scalars(), skips.summary()) == ({"skipped": 0.0}, "")
    for name in ("a", "b", "a"):
        skips.add(DataError(f"{name}.png is empty."))
    assert said == ["skipped: a.png is empty.", "skipped: b.png is empty."]
    assert [skips.scalars(), skips.scalars()] == [{"skipped": 3.0}, {"skipped": 0.0}]
    assert "3 samples were skipped: 2 unreadable files" in skips.summary()
    assert Skips(TrainConfig(), said.append).scalars() == {}


def flags(name: str) -> list[str]:
    """Of a tiny run in the folder of the frames."""
    domains = [f"--{d}.{flag}" for d in ("source", "target") for flag in ("dataset=gta5", "root=.", "skip-unreadable")]
    sizes = [part for d in ("source", "target") for part in (f"--{d}.size", "64", "64")]
    run = ["--run.device=cpu", "--run.workers=1", "--run.log-every=1", "--run.checkpoint-every=2", f"--run.name={name}"]
    tiny = ["--generator.backbone=lite0", "--generator.weights=none", "--optimiser.schedule-steps=100"]
    return [*tiny, *domains, *sizes, *run]


def test_a_run_counts_what_it_skips_and_resumes_to_the_same_bits(gta5: Path) -> None:
    code, said = train(gta5, *flags("whole"), "--run.stop-step=4")
    assert code == 0, said
    assert said.count("skipped: images/00002.png is not a readable image") == 1
    assert "samples were skipped: 2 unreadable files" in said
    for command in ([*flags("halves"), "--run.stop-step=2"], ["--run.resume=runs/halves", "--run.stop-step=4"]):
        code, said = train(gta5, *command)
        assert code == 0, said
    assert_same_run(gta5 / "runs/whole", gta5 / "runs/halves")
    assert sum(float(row["skipped"]) for row in losses(gta5 / "runs/whole")) > 0
