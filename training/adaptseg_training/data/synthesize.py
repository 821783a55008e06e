"""Rendered frames as files, for people and programs that want a folder."""

from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import track

from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.png import encode_palette_png
from adaptseg_training.data.streets import render_street

JPEG_QUALITY = 95


def synthesize(out: Path, seeds: Sequence[int], look: str, size: tuple[int, int]) -> None:
    """Write images/SEED.jpg and labels/SEED.png for every seed; frames that are there are written anew."""
    images, labels = out / "images", out / "labels"
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    palette = CITYSCAPES.palette()
    console = Console(stderr=True)
    for seed in track(seeds, description=f"rendering {look} streets", console=console):
        image, label_map = render_street(seed, look, size)
        jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        (images / f"{seed:08d}.jpg").write_bytes(jpeg.tobytes())
        (labels / f"{seed:08d}.png").write_bytes(encode_palette_png(label_map, palette))
    console.print(f"wrote {len(seeds)} frames of {size[0]}x{size[1]} to {out}")
