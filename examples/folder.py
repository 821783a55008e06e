"""Label maps of a folder of images, several at once: `python examples/folder.py http://127.0.0.1:3000 FRAMES OUT`.

Writes OUT/a.jpg.png for FRAMES/a.jpg, and so on for each JPEG and PNG: 8-bit grey, each pixel a train id.
grpc://host:3001 works as well.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from adaptseg_serve.client import SegmentationClient
from adaptseg_serve.errors import AdaptSegError

USAGE = "usage: python examples/folder.py URL FRAMES OUT"
AT_ONCE = 4
"""Enough that the service can make batches; a full queue is waited for by the client itself."""


def segment(client: SegmentationClient, image: Path, out: Path) -> str:
    """Write the label map into `out`; what went wrong, or ""."""
    try:
        answer = client.segment(image.read_bytes())
    except (AdaptSegError, OSError) as error:
        return f"{image.name}: {error}"
    path = out / f"{image.name}.png"  # the whole name: a.jpg and a.png may both be there
    return "" if cv2.imwrite(str(path), answer.label_map) else f"{image.name}: {path} can't be written."


def segment_all(url: str, frames: Path, out: Path) -> list[str]:
    """What went wrong, a line each."""
    out.mkdir(parents=True, exist_ok=True)
    images = sorted(path for path in frames.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with SegmentationClient(url) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        return [line for line in pool.map(lambda image: segment(client, image, out), images) if line]


def main() -> int:
    if len(sys.argv) != 4:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        failed = segment_all(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except (AdaptSegError, OSError) as error:
        failed = [str(error)]
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
