"""Videos of `adaptseg-predict`: their frames, and whether all came that the file announces."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import BadImage

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
_SLACK = 0.1, 1.0
"""A Matroska file tells its length, not its frames': sound or a still end may outlast them by this share and second."""


def count_frames(path: Path) -> int:
    """What the file says of itself, at least 1."""
    video = cv2.VideoCapture(str(path))
    frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    return max(1, frames)


def frame_rate(path: Path) -> float:
    video = cv2.VideoCapture(str(path))
    rate = float(video.get(cv2.CAP_PROP_FPS))
    video.release()
    return rate if 0 < rate < 1000 else 25.0


def video_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) uint8 RGB. Raises BadImage after the last frame where there are fewer than the file announces."""
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise BadImage("The video can't be opened. Convert it to MP4 with H.264.")
        frames, seconds = 0, 0.0
        while (read := video.read())[0]:
            frames, seconds = frames + 1, video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield np.asarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), np.uint8)
        if not frames:
            raise BadImage("No frame of the video can be read. Convert it to MP4 with H.264.")
        if _lacks_frames(path, video, frames, seconds):
            raise BadImage(f"The video is cut short or damaged: {frames} frames could be read, and are written.")
    finally:
        video.release()


def _lacks_frames(path: Path, video: cv2.VideoCapture, frames: int, seconds: float) -> bool:
    announced, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
    match path.suffix.lower():
        case ".avi":
            return frames < announced
        case ".mkv" | ".webm":
            share, least = _SLACK
            return rate > 0 and seconds < (1 - share) * announced / rate - least
    # A trimmed MP4 keeps frames that aren't shown, and counts them.
    return frames < announced and _ends_within_a_box(path)


def _ends_within_a_box(path: Path) -> bool:
    """Whether an MP4's outermost boxes reach beyond the end of the file."""
    end, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < end:
            file.seek(at)
            head = file.read(16)
            size = int.from_bytes(head[:4])
            if size == 0:  # to the end, however long
                return False
            at += max(8, int.from_bytes(head[8:]) if size == 1 else size)
    return at > end
