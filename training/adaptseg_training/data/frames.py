"""Your own road, unlabelled: folders of images, single images, and videos."""

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from adaptseg_serve.errors import ConfigError
from adaptseg_training.data.listing import Listing
from adaptseg_training.data.sample import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Sample, only_images, read_image
from adaptseg_training.errors import DataError

MEMORY_LIMIT = 4 << 30
_log = logging.getLogger(__name__)
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


@dataclass(frozen=True)
class _VideoFrame:
    """A frame kept as JPEG: seeking in a video for every sample costs a hundred times more than decoding this."""

    name: str
    jpeg: NDArray[np.uint8]


class Frames(Dataset[Sample]):
    """Every `every`-th image of `roots`, then every `every`-th frame of each video; videos are read at the start.

    The first `first` of them all, images and frames before any is left out by `every`, are left out.
    """

    label_set: str | None = None

    def __init__(
        self, roots: Sequence[Path], first: int = 0, every: int = 1, count: int = 0, name: str = "target"
    ) -> None:
        """count: no more than so many, and no video is read further than that takes; 0: all. name: of the flags."""
        files = _expand(roots)
        images = [p for p in files if not _is_video(p)]
        self._frames: list[Path | _VideoFrame] = list(images[first::every][: count or None])
        before, room = len(images), MEMORY_LIMIT
        for video in filter(_is_video, files):
            most = count - len(self._frames) if count else None
            if most == 0:
                break
            frames, length = _video_frames(video, max(0, first - before), every, most, room, name)
            self._frames += frames
            before += length
            room -= sum(frame.jpeg.nbytes for frame in frames)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self._frames[index]
        if isinstance(frame, Path):
            return Sample(str(frame), read_image(frame))
        decoded = np.asarray(cv2.imdecode(frame.jpeg, cv2.IMREAD_COLOR), np.uint8)
        return Sample(frame.name, np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8))


def list_frames(roots: Sequence[Path]) -> Listing:
    """The images of `roots`; DataError for a video that can't be read."""
    files = _expand(roots)
    for video in filter(_is_video, files):
        if all(frame is None for frame in _decode(video, 0, 1)):
            raise _unreadable(video)
    return Listing(tuple(p for p in files if not _is_video(p)))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _expand(roots: Sequence[Path]) -> list[Path]:
    """Files of every root: itself, or what lies in the folder (not deeper). ConfigError where there is none."""
    files: list[Path] = []
    for root in roots:
        if not root.exists():
            raise ConfigError(f"there is no file or folder {root}.")
        inside = sorted(root.iterdir()) if root.is_dir() else [root]
        usable = sorted([*only_images(inside), *filter(_is_video, inside)])
        if not usable:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            raise ConfigError(f"{root} holds no image and no video ({kinds}).")
        files += usable
    return files


def _video_frames(
    path: Path, first: int, every: int, most: int | None, room: int, name: str
) -> tuple[list[_VideoFrame], int]:
    """Frames `first`, `first + every`, ... of a video, at most `most`, and how many were gone through.

    ConfigError as soon as they take more than `room` bytes.
    """
    _log.info("reading %s, which takes a while ...", path)
    frames, length = list[_VideoFrame](), 0
    with closing(_decode(path, first, every)) as decoded:
        for number, frame in enumerate(decoded):
            length = number + 1
            if frame is None:
                continue
            jpeg = np.asarray(cv2.imencode(".jpg", frame, _JPEG)[1], np.uint8)
            frames.append(_VideoFrame(f"{path} frame {number}", jpeg))
            room -= jpeg.nbytes
            if room < 0:
                raise ConfigError(
                    f"the frames of {path} up to number {number} would take more than {MEMORY_LIMIT >> 30} GiB of "
                    f"memory, all videos together. Take fewer: a larger --{name}.every, or --{name}.count."
                )
            if len(frames) == most:
                break
    if not length or (first < length and not frames):
        raise _unreadable(path)
    _log.info("%s: %d frames taken of the %d that were read", path, len(frames), length)
    return frames, length


def _unreadable(video: Path) -> DataError:
    return DataError(f"{video} is not a readable video. Convert it: ffmpeg -i {video.name} out.mp4")


def _decode(path: Path, first: int, every: int) -> Generator[NDArray[np.uint8] | None]:
    """Frame by frame: (H, W, 3) uint8 BGR of `first`, `first + every`, ...; None for others and for unreadable ones."""
    video = cv2.VideoCapture(str(path))
    try:
        number = 0
        while video.grab():
            wanted = number >= first and (number - first) % every == 0
            readable, frame = video.retrieve() if wanted else (False, None)
            yield np.asarray(frame, np.uint8) if readable else None
            number += 1
    finally:
        video.release()
