"""Label maps of a folder of images, several at once: `python examples/folder.py http://127.0.0.1:3000 FRAMES OUT`.

Writes OUT/NAME.png for each JPEG and PNG in FRAMES: 8-bit grey, each pixel a train id. grpc://host:3001 works as well.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from adaptseg_serve.client import SegmentationClient
from adaptseg_serve.errors import RequestError

AT_ONCE = 4
"""Enough that the service can make batches; a full queue is waited for by the client itself."""


def segment(client: SegmentationClient, image: Path, out: Path) -> str:
    """Write the label map to `out`; what went wrong, or ""."""
    try:
        answer = client.segment(image.read_bytes())
    except RequestError as error:
        return f"{image.name}: {error}"
    cv2.imwrite(str(out / f"{image.stem}.png"), answer.label_map)
    return ""


def main() -> int:
    url, frames, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    images = sorted(path for path in frames.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with SegmentationClient(url) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        failed = [line for line in pool.map(lambda image: segment(client, image, out), images) if line]
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
