"""Data sets give what their files hold, in train ids; a position gives the same sample whoever asks, whenever."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.shared_data import DATA, needs
from hypothesis import given
from hypothesis import strategies as st

from adaptseg_serve.labels import IGNORE_ID
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.augment import MAX_ZOOM
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.loading import SampleStream, batches
from adaptseg_training.data.prepare import Pair, Preparer, label_table, resize
from adaptseg_training.data.sample import ImageSet, read_image, read_label_ids
from adaptseg_training.data.sampler import sample_index
from adaptseg_training.errors import DataError

SIZE = (48, 64)


def stream(images: ImageSet, augmented: bool = True) -> SampleStream:
    table = None if images.label_set is None else label_table(images, images.label_set, "source")
    return SampleStream(images, Preparer(PreprocessSpec(SIZE), augmented, table), seed=5)


def take(images: ImageSet, first: int, count: int, workers: int) -> list[Pair]:
    endless = batches(stream(images), first, size=2, workers=workers, pin=False)
    return [next(endless) for _ in range(count)]


def test_label_ids_become_train_ids(camvid: Path) -> None:
    sample = open_domain(DomainConfig("camvid", (camvid,)), "source")[0]
    assert sample.image.shape == (60, 84, 3)
    assert sample.label_map is not None
    assert sample.label_map[0, ::7].tolist() == [*range(11), IGNORE_ID]


@pytest.mark.parametrize(("split", "names"), [("", 3), ("train", 3), ("day", 2), ("dusk", 1)])
def test_splits_of_camvid(camvid: Path, split: str, names: int) -> None:
    assert len(open_domain(DomainConfig("camvid", (camvid,), split), "source")) == names


def test_camvid_in_segnets_layout(camvid: Path, tmp_path: Path) -> None:
    ours, segnet = camvid / "train", tmp_path / "segnet"
    for kind, name in (("images", "train"), ("labels", "trainannot")):
        (segnet / name).mkdir(parents=True)
        for path in (ours / kind).iterdir():
            (segnet / name / path.name).write_bytes(path.read_bytes())
    images = open_domain(DomainConfig("camvid", (segnet,), "day"), "source")
    others = open_domain(DomainConfig("camvid", (camvid,), "day"), "source")
    assert len(images) == len(others) == 2
    for index in range(2):
        np.testing.assert_array_equal(images[index].image, others[index].image)
        np.testing.assert_array_equal(images[index].label_map, others[index].label_map)


def test_hidden_files_of_other_systems_are_no_frames(camvid: Path) -> None:
    (camvid / "train/images/._0001TP_1.png").write_bytes(b"what macOS leaves")
    assert len(open_domain(DomainConfig("frames", (camvid / "train/images",)), "target")) == 3
    assert len(open_domain(DomainConfig("camvid", (camvid,)), "source")) == 3


@needs("camvid")
@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101), ("day", 305), ("dusk", 62)])
def test_camvid_has_its_frames(split: str, count: int) -> None:
    images = open_domain(DomainConfig("camvid", (DATA / "camvid",), split), "source")
    assert len(images) == count
    label_map = images[count - 1].label_map
    assert label_map is not None
    assert set(np.unique(label_map)) <= {*range(11), IGNORE_ID}


def test_first_every_and_count_choose(camvid: Path) -> None:
    everything = open_domain(DomainConfig("camvid", (camvid,)), "source")
    part = open_domain(DomainConfig("camvid", (camvid,), first=1, every=2, count=5), "source")
    assert [part[i].name for i in range(len(part))] == [everything[1].name]
    assert len(open_domain(DomainConfig("streets", first=7, every=3, count=4), "evaluate")) == 4


def test_streets_take_their_looks_in_turn() -> None:
    images = open_domain(DomainConfig("streets", split="day,night", size=(64, 96)), "source")
    assert "day" in images[0].name
    assert "night" in images[1].name
    assert images[0].image.shape == (64, 96, 3)


def test_streets_to_be_cropped_are_drawn_as_large_as_the_smallest_crop_needs() -> None:
    images = open_domain(DomainConfig("streets", size=(64, 96), augment=True), "source")
    assert images[0].image.shape == (64 * MAX_ZOOM, 96 * MAX_ZOOM, 3)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    for read in (read_image, read_label_ids):
        with pytest.raises(DataError, match=r"broken\.png"):
            read(path)
    with pytest.raises(DataError, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")


def test_a_label_image_in_colour_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="one channel"):
        read_label_ids(tmp_path / "colour.png")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_file_stops_the_batches_without_a_traceback(camvid: Path, workers: int) -> None:
    images = open_domain(DomainConfig("camvid", (camvid,)), "source")
    (camvid / "train/images/0006R0_1.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"0006R0_1\.png is not a readable image") as caught:
        take(images, 0, 4, workers)
    assert "Traceback" not in str(caught.value)


def test_batches_are_the_same_from_any_start_with_any_workers(camvid: Path) -> None:
    images = open_domain(DomainConfig("camvid", (camvid,)), "source")
    whole = take(images, 0, 5, workers=0)
    for ours, others in zip(whole[2:], take(images, 2, 3, workers=2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))
    images_of_a_batch, labels = whole[0]
    assert (images_of_a_batch.shape, images_of_a_batch.dtype) == ((2, 3, *SIZE), torch.uint8)
    assert (labels.shape, labels.dtype) == ((2, *SIZE), torch.uint8)


@pytest.mark.parametrize(("native", "size"), [((105, 191), (72, 128)), ((96, 160), (48, 80)), ((48, 64), (60, 90))])
@pytest.mark.parametrize("kind", ["noise", "edges"])
def test_training_images_are_resized_as_at_serving_time(
    native: tuple[int, int], size: tuple[int, int], kind: str
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*native, 3), dtype=np.uint8)
    if kind == "edges":
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 2) > 128, np.uint8) * 255
    spec = PreprocessSpec(size)
    off = np.abs(resize(image, spec).numpy().astype(int) - spec.resize_image(image).transpose(2, 0, 1))
    assert off.max() <= 2
    assert (off > 0).mean() < 0.02
    assert torch.equal(resize(image, PreprocessSpec(native)), torch.from_numpy(image.transpose(2, 0, 1).copy()))


def test_a_targets_labels_are_never_seen(camvid: Path) -> None:
    images = open_domain(DomainConfig("camvid", (camvid,)), "target")
    unlabelled = SampleStream(images, Preparer(PreprocessSpec(SIZE), True, None), seed=5)
    pair = unlabelled[0].pair
    assert pair is not None
    assert pair[1].numel() == 0


def test_a_target_is_there_as_the_camera_saw_it_where_that_is_wanted(camvid: Path) -> None:
    """The same crops; whoever is shown the changed colours sees what he would see without."""
    images = open_domain(DomainConfig("camvid", (camvid,)), "target")
    alone, beside = (
        SampleStream(images, Preparer(PreprocessSpec(SIZE), True, None, natural), seed=5) for natural in (False, True)
    )
    for position in range(4):
        changed, seen = beside[position].pair or pytest.fail("no sample")
        assert torch.equal(changed, (alone[position].pair or pytest.fail("no sample"))[0])
        assert seen.shape == changed.shape
        assert not torch.equal(seen, changed)
    plain = SampleStream(images, Preparer(PreprocessSpec(SIZE), False, None, True), seed=5)[0].pair
    assert plain is not None
    assert torch.equal(*plain)


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), epoch=st.integers(0, 3))
def test_every_pass_sees_every_sample_once(seed: int, count: int, epoch: int) -> None:
    positions = range(epoch * count, (epoch + 1) * count)
    assert sorted(sample_index(seed, p, count) for p in positions) == list(range(count))
