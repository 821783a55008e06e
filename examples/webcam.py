"""A camera or a video file, live: `python examples/webcam.py grpc://127.0.0.1:3001 0` (or a file's name).

The stream keeps up whatever the service's pace: a newer frame takes the place of one that waits, and each frame
that was skipped is told. Where the service drains or is full, another stream is opened later; a service that was never
there is an error. Prints a line a second. What to do with a label map goes where the road is measured.
"""

import sys
import threading
import time
from collections import Counter
from typing import Self

import cv2

from adaptseg_serve.client import Answer, Dropped, SegmentationClient
from adaptseg_serve.errors import AdaptSegError, Busy

ROAD = 0
MAX_AGE = 0.5
"""Seconds after which a frame is of no use."""
PAUSE = 1.0
"""Seconds until another stream is opened, where the service names no time of its own."""


class Frames:
    """The frames, for one stream after another; a file is played at its own pace, as a camera would.

    Each is a JPEG file: raw, one of 3840x2160 has 24 MiB, and a service takes 16 (ADAPTSEG_MAX_BODY_BYTES).
    """

    def __init__(self, source: str) -> None:
        self._capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
        if not self._capture.isOpened():
            raise SystemExit(f"{source} can't be opened; give a camera's number or a video file.")
        self._pace = 0.0 if source.isdecimal() else 1 / (self._capture.get(cv2.CAP_PROP_FPS) or 30)
        self._start, self._number = time.monotonic(), 0
        self._reading = threading.Lock()  # gRPC's thread of a stream that broke may still be at it
        self.ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with self._reading:
            read, frame = self._capture.read()
            if not read:
                self.ended = True
                raise StopIteration
            time.sleep(max(0.0, self._start + self._number * self._pace - time.monotonic()))
            self._number += 1
            return cv2.imencode(".jpg", frame)[1].tobytes()


class Report:
    """What came of the frames, and a line a second."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._road, self._shown = 0.0, time.monotonic()

    def add(self, answer: Answer | Dropped) -> None:
        if isinstance(answer, Dropped):
            self.counts[answer.reason] += 1
        else:
            self.counts["ANSWERED"] += 1
            self._road = float((answer.label_map == ROAD).mean())
        if time.monotonic() - self._shown >= 1:
            print(f"road {self._road:.0%} of the frame; so far {dict(self.counts)}", flush=True)
            self._shown = time.monotonic()


def watch(url: str, source: str) -> None:
    frames, report = Frames(source), Report()
    with SegmentationClient(url) as client:
        while not frames.ended:
            pause = PAUSE
            try:
                for answer in client.stream(frames, max_age=MAX_AGE):
                    report.add(answer)
            except Busy as busy:
                if not (report.counts or busy.retry_after):
                    raise  # nobody was ever there
                pause = busy.retry_after or PAUSE
                print(f"webcam: {busy} Another try in {pause:g} s.", file=sys.stderr, flush=True)
            if not frames.ended:
                time.sleep(pause)
    print(f"end: {dict(report.counts)}")


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: python {sys.argv[0]} grpc://HOST:PORT CAMERA_NUMBER_OR_VIDEO")
    try:
        watch(*sys.argv[1:])
    except AdaptSegError as error:
        raise SystemExit(f"webcam: {error}") from None


if __name__ == "__main__":
    main()
