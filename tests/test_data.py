"""Data sets give what their files hold, in train ids; a position gives the same sample whoever asks, whenever."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.shared_data import DATA, needs
from hypothesis import given
from hypothesis import strategies as st

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CAMVID, CITYSCAPES, IGNORE_ID, translation
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.cli.train import parse_command
from adaptseg_training.config import DomainConfig
from adaptseg_training.data import frames
from adaptseg_training.data.augment import MAX_ZOOM
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.frames import Frames
from adaptseg_training.data.loading import SampleStream, batches
from adaptseg_training.data.prepare import Pair, Preparer, label_table, resize
from adaptseg_training.data.sample import ImageSet, read_image, read_label_ids
from adaptseg_training.data.sampler import sample_index
from adaptseg_training.domains import open_domains
from adaptseg_training.errors import DataError

SIZE = (48, 64)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Two train frames by day, one at dusk, in CamVid's layout; label ids 0..11 in columns."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    for name in ("0001TP_1", "0006R0_1", "0016E5_1"):
        cv2.imwrite(str(tmp_path / f"train/images/{name}.png"), rng.integers(0, 256, (60, 84, 3), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f"train/labels/{name}.png"), np.tile(np.arange(84, dtype=np.uint8) // 7, (60, 1)))
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten grey frames, the n-th of level 20 n."""
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


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


@needs("clips")
def test_a_folder_of_clips_gives_every_kth_frame() -> None:
    images = open_domain(DomainConfig("frames", (DATA / "clips",), every=20), "target")
    assert len(images) == 12 + 2  # 221 and 38 frames
    assert images[0].image.shape == (540, 960, 3)


def test_frames_come_from_folders_and_videos(camvid: Path, video: Path) -> None:
    images = open_domain(DomainConfig("frames", (camvid / "train/images", video), every=3), "target")
    assert len(images) == 1 + 4
    assert images.label_set is None
    levels = [images[i].image.mean() for i in range(1, 5)]
    assert levels == pytest.approx([0, 60, 120, 180], abs=4)
    assert images[2].name.endswith("drive.avi frame 3")


def test_no_more_of_a_video_is_read_than_is_wanted(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    decode = frames._decode

    def decoded(path: Path, first: int, every: int) -> Iterator[object]:
        for number, frame in enumerate(decode(path, first, every)):
            read.append(number)
            yield frame

    monkeypatch.setattr(frames, "_decode", decoded)
    images = open_domain(DomainConfig("frames", (video, video), every=2, count=3), "target")
    assert [images[i].name.rpartition(" ")[2] for i in range(len(images))] == ["0", "2", "4"]
    assert read == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["target", "evaluate"])
def test_a_video_too_long_for_the_memory_is_a_sentence(video: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """While it is read, not after."""
    room = sum(frame.jpeg.nbytes for frame in Frames((video,))._frames if not isinstance(frame, Path))
    monkeypatch.setattr(frames, "MEMORY_LIMIT", room + 1)
    assert len(open_domain(DomainConfig("frames", (video,)), name)) == 10
    with pytest.raises(ConfigError, match=rf"drive\.avi up to number 0 .*--{name}\.every, or --{name}\.count"):
        open_domain(DomainConfig("frames", (video, video)), name)


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (
            ("--evaluate.dataset", "frames", "--evaluate.root", ".", "--evaluate.first", "0"),
            "--evaluate.dataset has no labels to score on",
        ),
        (("--label-set", "lava,ash"), "no translation from 'cityscapes' classes to 'lava,ash'"),
        (("--source.dataset", "frames", "--source.root", "."), "--source.dataset has no labels"),
    ],
)
def test_labels_that_a_run_will_want_are_asked_for_at_once(
    video: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], match: str
) -> None:
    monkeypatch.chdir(video.parent)
    with pytest.raises(ConfigError, match=match):
        open_domains(parse_command(["smoke", *flags])[1])


def test_scores_want_a_translation(camvid: Path) -> None:
    first = ("--evaluate.first", "0")
    flags = ("--evaluate.dataset", "camvid", "--evaluate.root", str(camvid), "--evaluate.split", "train")
    open_domains(parse_command(["smoke", *first, *flags])[1])
    own = camvid / "own.yaml"
    own.write_text("images: train/images/*.png\nlabels: train/labels/*.png\nclasses: [lava, ash]\nids: {1: lava}\n")
    flags = (*first, "--evaluate.dataset", "own", "--evaluate.root", str(own), "--evaluate.split", "")
    with pytest.raises(
        ConfigError, match=r"--evaluate\.dataset: no translation from 'cityscapes' classes to 'lava,ash'"
    ):
        open_domains(parse_command(["smoke", *flags])[1])


def test_first_counts_frames_before_every_leaves_any_out(camvid: Path, video: Path) -> None:
    """As in every other data set: the images before the first are left out, then every k-th is taken."""
    domain = DomainConfig("frames", (video,), first=4, every=2, count=2)
    images = open_domain(domain, "target")
    assert [images[i].name.rpartition(" ")[2] for i in range(len(images))] == ["4", "6"]
    both = (camvid / "train/images", video)  # three images, then ten frames
    images = open_domain(DomainConfig("frames", both, first=1, every=2), "target")
    assert len(images) == 1 + 5
    images = open_domain(DomainConfig("frames", both, first=5, every=3), "target")
    assert [images[i].name.rpartition(" ")[2] for i in range(len(images))] == ["2", "5", "8"]
    with pytest.raises(ConfigError, match=r"--target\.first 13 leaves no image"):
        open_domain(DomainConfig("frames", both, first=13), "target")


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


@pytest.mark.parametrize(
    ("domain", "match"),
    [
        (DomainConfig("camvid"), "--source.root is not set"),
        (DomainConfig("camvid", (Path("a"), Path("b"))), "one folder, 2 were given"),
        (DomainConfig("camvid", (Path("nowhere"),)), r"no folder nowhere"),
        (DomainConfig("frames", (Path("nowhere"),)), "no file or folder nowhere"),
        (DomainConfig("camvid", (Path(),), "noon"), "no split 'noon'"),
        (DomainConfig("streets", split="fog"), "unknown look fog"),
        (DomainConfig(first=-1), r"--source\.first is -1; it must be 0 or more"),
        (DomainConfig(every=0), r"--source\.every is 0; it must be 1 or more"),
        (DomainConfig(count=-2), r"--source\.count is -2; it must be 0 or more"),
        (DomainConfig("camvid", (Path("a"),), count=-1), r"--source\.count is -1; it must be 0 or more"),
        (DomainConfig(size=(0, 0)), r"--source\.size is 0 0; each number of it must be 32 or more"),
        (DomainConfig(size=(48, 96)), r"--source\.size 48 96: streets are drawn 64 x 64 or larger"),
        (DomainConfig(root=(Path("drive.mp4"),)), r"--source\.root drive\.mp4: streets .* --source\.dataset frames"),
    ],
)
def test_a_wrong_domain_is_a_sentence(domain: DomainConfig, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_domain(domain, "source")


@pytest.mark.parametrize("name", ["evaluate", "data"])
def test_scores_and_previews_skip_and_change_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name}.skip-unreadable: only training"):
        open_domain(DomainConfig(skip_unreadable=True), name)
    with pytest.raises(ConfigError, match=f"--{name}.augment: only training"):
        open_domain(DomainConfig(augment=True), name)


def test_an_image_without_its_label_map_is_named(camvid: Path) -> None:
    (camvid / "train/labels/0016E5_1.png").unlink()
    with pytest.raises(ConfigError, match=r"1 of 3 images have no label map.*0016E5_1\.png"):
        open_domain(DomainConfig("camvid", (camvid,)), "source")


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


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), epoch=st.integers(0, 3))
def test_every_pass_sees_every_sample_once(seed: int, count: int, epoch: int) -> None:
    positions = range(epoch * count, (epoch + 1) * count)
    assert sorted(sample_index(seed, p, count) for p in positions) == list(range(count))


def test_labels_of_other_classes_are_translated_or_refused(camvid: Path) -> None:
    streets = open_domain(DomainConfig("streets", size=(64, 96)), "source")
    preparer = Preparer(PreprocessSpec((64, 96)), False, label_table(streets, "camvid", "s"))
    pair = SampleStream(streets, preparer, 5)[0].pair
    assert pair is not None
    assert set(pair[1].unique().tolist()) <= {*range(len(CAMVID)), IGNORE_ID}
    with pytest.raises(ConfigError, match="has the camvid classes, --label-set is cityscapes"):
        label_table(open_domain(DomainConfig("camvid", (camvid,)), "source"), "cityscapes", "source")
    assert translation("cityscapes", "camvid")[CITYSCAPES.train_id("road")] == CAMVID.train_id("road")
