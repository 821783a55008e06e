"""What `adaptseg-predict` reads: images, folders of images and videos, as one stream of frames with names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.cli import videos
from adaptseg_serve.errors import BadImage, ConfigError
from adaptseg_serve.images import decode_image

IMAGES = frozenset({".jpg", ".jpeg", ".png"})
MAX_PIXELS = 1 << 28
"""The user's own files need no guard against strangers, only against a number that can't be meant."""


@dataclass(frozen=True)
class Source:
    """One image or one video, and the name of its results: a path without suffix, below the output folder."""

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        return _is_video(self.path)


def find_sources(paths: Sequence[Path], out: Path) -> list[Source]:
    """Files as they are, folders with all images and videos below them, but not the results of an earlier run that
    lie in `out`. ConfigError says what is wrong with a path."""
    sources = [source for path in paths for source in _sources(path, out.resolve())]
    taken: dict[Path, Path] = {}
    for source in sources:
        other = taken.setdefault(source.name, source.path)
        if other != source.path:
            raise ConfigError(
                f"{other} and {source.path} would both be written as {source.name}. Give them in two runs."
            )
    for source in sources:  # a video's frames lie in a folder of its name
        if video := next((taken[p] for p in source.name.parents if p in taken and _is_video(taken[p])), None):
            raise ConfigError(
                f"the frames of {video} would lie among the results of {source.path}. Give them in two runs."
            )
    return list({source.path: source for source in sources}.values())


def count_frames(source: Source) -> int:
    """1 for an image; what the file says of itself for a video, at least 1."""
    return videos.count_frames(source.path) if source.is_video else 1


def read_frames(source: Source) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) uint8 RGB, frame by frame. Raises BadImage or UnsupportedType where the file can't be read."""
    if source.is_video:
        yield from videos.video_frames(source.path)
    else:
        try:
            data = source.path.read_bytes()
        except OSError as error:
            raise BadImage(f"The file can't be read ({error.strerror}).") from error
        yield decode_image(data, MAX_PIXELS)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in videos.SUFFIXES


def _sources(path: Path, out: Path) -> list[Source]:
    known = IMAGES | videos.SUFFIXES
    if path.is_dir():
        if path.resolve().is_relative_to(out):
            raise ConfigError(
                f"--out {out} holds {path}, so a second run would take its results for inputs. Choose another --out."
            )
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in known and p.is_file())
        # "._a.jpg" is what macOS puts beside a.jpg on other file systems.
        files = [p for p in files if not p.name.startswith("._") and not p.parent.resolve().is_relative_to(out)]
        if not files:
            raise ConfigError(f"{path} holds no images or videos ({', '.join(sorted(known))}).")
        return [Source(p, p.relative_to(path).with_suffix("")) for p in files]
    if not path.is_file():
        raise ConfigError(f"{path} is not there. Give images, folders of images, or videos.")
    if path.suffix.lower() not in known:
        raise ConfigError(f"{path} is no image or video that can be read ({', '.join(sorted(known))}).")
    return [Source(path, Path(path.stem))]
