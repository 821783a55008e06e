"""Unlabelled frames: folders and videos, and which of their frames are taken."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.shared_data import DATA, needs

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import DomainConfig
from adaptseg_training.data import frames
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.frames import Frames


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


def test_reading_a_video_is_said(video: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    open_domain(DomainConfig("frames", (video,), every=3), "target")
    assert f"{video}: 4 frames taken of the 10 that were read" in caplog.messages


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
