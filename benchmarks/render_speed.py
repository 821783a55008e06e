"""How fast streets are drawn: frames per second of CPU time, one core, each look in turn.

Textures and sprites are made on first use, so every look is warmed up on the seeds before those it is timed on.
A frame's cost depends on what stands in it: the median over the seeds is what counts, the slowest tenth is shown.

    python benchmarks/render_speed.py [--frames 100] [--size 360 480]

The last line is JSON: {"benchmark": "render_speed", "size": [H, W], "frames_per_second": {look: number}, ...}.
"""

import argparse
import json
import platform
import time

import cv2
import numpy as np

from adaptseg_training.data.streets import LOOKS, render_street

WARM_UP = 60


def frame_times(look: str, size: tuple[int, int], frames: int) -> list[float]:
    """CPU seconds per frame."""
    for seed in range(WARM_UP):
        render_street(10_000 + seed, look, size)
    times = []
    for seed in range(frames):
        start = time.process_time()
        render_street(seed, look, size)
        times.append(time.process_time() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    options = parser.parse_args()
    size = (int(options.size[0]), int(options.size[1]))
    cv2.setNumThreads(1)
    speeds = {}
    for look in LOOKS:
        times = frame_times(look, size, options.frames)
        speeds[look] = round(1 / float(np.median(times)), 1)
        print(f"{look:10s} {speeds[look]:6.1f} frames/s; slowest tenth: {1e3 * np.quantile(times, 0.9):.1f} ms or more")
    report = {
        "benchmark": "render_speed",
        "size": size,
        "frames": options.frames,
        "frames_per_second": speeds,
        "opencv": cv2.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
