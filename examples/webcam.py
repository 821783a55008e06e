"""A camera or a video file, live: `python examples/webcam.py grpc://127.0.0.1:3001 0` (or a file's name).

The stream keeps up whatever the service's pace: a newer frame takes the place of one that waits, and each frame
that was skipped is told. Prints a line a second. What to do with a label map goes where the road is measured.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.client import Dropped, SegmentationClient
from adaptseg_serve.errors import AdaptSegError

ROAD = 0
MAX_AGE = 0.5
"""Seconds after which a frame is of no use."""


def frames(source: str) -> Iterator[NDArray[np.uint8]]:
    """RGB frames; a file is played at its own pace, as a camera would."""
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not capture.isOpened():
        raise SystemExit(f"{source} can't be opened; give a camera's number or a video file.")
    pause = 0 if source.isdecimal() else 1 / (capture.get(cv2.CAP_PROP_FPS) or 30)
    while (read := capture.read())[0]:
        yield np.ascontiguousarray(read[1][..., ::-1])
        time.sleep(pause)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: python {sys.argv[0]} grpc://HOST:PORT CAMERA_NUMBER_OR_VIDEO")
    try:
        watch(*sys.argv[1:])
    except AdaptSegError as error:
        raise SystemExit(f"webcam: {error}") from None


def watch(url: str, source: str) -> None:
    counts: Counter[str] = Counter()
    shown, road = time.monotonic(), 0.0
    with SegmentationClient(url) as client:
        for answer in client.stream(frames(source), max_age=MAX_AGE):
            if isinstance(answer, Dropped):
                counts[answer.reason] += 1
            else:
                counts["ANSWERED"] += 1
                road = float((answer.label_map == ROAD).mean())
            if time.monotonic() - shown >= 1:
                print(f"road {road:.0%} of the frame; so far {dict(counts)}", flush=True)
                shown = time.monotonic()
    print(f"end: {dict(counts)}")


if __name__ == "__main__":
    main()
