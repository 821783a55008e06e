"""What `adaptseg-predict` writes for one source: label maps as palette PNGs, overlays as JPEGs or as a video."""

from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.cli.inputs import Source
from adaptseg_serve.cli.videos import frame_rate
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.png import encode_palette_png
from adaptseg_serve.render import encode_rgb, overlay

Render = Literal["labels", "overlay", "both"]
Image = NDArray[np.uint8]


class Writer(Protocol):
    def write(self, image: Image, label_map: LabelMap) -> None: ...

    def close(self) -> None: ...


def writers(source: Source, out: Path, render: Render, palette: NDArray[np.uint8]) -> list[Writer]:
    """What writes `source`'s results below `out`."""
    base = out / source.name
    base.parent.mkdir(parents=True, exist_ok=True)
    chosen: list[Writer] = []
    if render in ("labels", "both"):
        chosen.append(Labels(source, base, palette))
    if render in ("overlay", "both"):
        chosen.append(OverlayVideo(source, base, palette) if source.is_video else OverlayImage(source, base, palette))
    return chosen


class Labels:
    """`NAME.png` of an image; `NAME/000000.png`, ... of a video's frames."""

    def __init__(self, source: Source, base: Path, palette: NDArray[np.uint8]) -> None:
        self._source, self._base, self._palette, self._frame = source, base, palette, 0

    def write(self, image: Image, label_map: LabelMap) -> None:
        path = self._base / f"{self._frame:06d}.png" if self._source.is_video else _with(self._base, ".png")
        path.parent.mkdir(exist_ok=True)
        _save(path, encode_palette_png(label_map, self._palette), self._source)
        self._frame += 1

    def close(self) -> None:
        pass


class OverlayImage:
    """`NAME.overlay.jpg`."""

    def __init__(self, source: Source, base: Path, palette: NDArray[np.uint8]) -> None:
        self._source, self._base, self._palette = source, base, palette

    def write(self, image: Image, label_map: LabelMap) -> None:
        picture = encode_rgb(overlay(image, label_map, self._palette), "jpeg")
        _save(_with(self._base, ".overlay.jpg"), picture, self._source)

    def close(self) -> None:
        pass


class OverlayVideo:
    """`NAME.overlay.mp4`, at the video's own size and frame rate."""

    def __init__(self, source: Source, base: Path, palette: NDArray[np.uint8]) -> None:
        self._path, self._palette = _with(base, ".overlay.mp4"), palette
        self._rate = frame_rate(source.path)
        self._video: cv2.VideoWriter | None = None

    def write(self, image: Image, label_map: LabelMap) -> None:
        height, width = label_map.shape
        if self._video is None:
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._video = cv2.VideoWriter(str(self._path), codec, self._rate, (width, height))
            if not self._video.isOpened():
                raise OSError(f"{self._path} can't be written as a video of {width} x {height} pixels.")
        self._video.write(cv2.cvtColor(overlay(image, label_map, self._palette), cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        if self._video is not None:
            self._video.release()


def _with(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def _save(path: Path, data: bytes, source: Source) -> None:
    if path.exists() and path.samefile(source.path):
        raise ConfigError(f"{path} is the image itself and would be overwritten. Choose another --out.")
    path.write_bytes(data)
