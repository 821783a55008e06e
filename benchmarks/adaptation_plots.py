"""The pictures of adaptation.py: mIoU over steps, IoU by class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend is chosen first


def draw(results: Sequence[dict[str, Any]], out: Path) -> None:
    """OUT/curves_GAP.png and OUT/classes_GAP.png of the results of adaptation.py."""
    for gap in sorted({result["gap"] for result in results}):
        mine = [result for result in results if result["gap"] == gap]
        _curves(mine, out / f"curves_{gap}.png", gap)
        _classes(mine, out / f"classes_{gap}.png", gap)


def _curves(results: Sequence[dict[str, Any]], path: Path, gap: str) -> None:
    """A row begins where the one ends that it goes on from."""
    ends: dict[tuple[str, int], Sequence[float]] = {}
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    colors = _colors(results)
    for result in results:
        start = ends.get((result["after"], result["seed"]))
        points = result["curve"] if start is None else [start, *([start[0] + s, m] for s, m in result["curve"])]
        ends[result["row"], result["seed"]] = points[-1]
        steps, mious = np.array(points, float).T
        label = result["row"] if result["seed"] == results[0]["seed"] else None
        axes.plot(steps, 100 * mious, marker="o", markersize=3, color=colors[result["row"]], label=label)
    axes.set(title=gap.replace("_", " "), xlabel="steps", ylabel="mIoU, 11 classes, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _classes(results: Sequence[dict[str, Any]], path: Path, gap: str) -> None:
    names = list(results[0]["iou"])
    colors = _colors(results)
    figure, axes = plt.subplots(figsize=(11, 4.5), layout="constrained")
    width = 0.85 / len(colors)
    for index, (row, color) in enumerate(colors.items()):
        mine = [[result["iou"][name] or 0.0 for name in names] for result in results if result["row"] == row]
        axes.bar(np.arange(len(names)) + index * width, 100 * np.mean(mine, 0), width, color=color, label=row)
    axes.set_xticks(np.arange(len(names)) + 0.4, names, rotation=30, ha="right")
    axes.set(title=gap.replace("_", " "), ylabel="IoU, %")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, ncols=5, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _colors(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = list(dict.fromkeys(result["row"] for result in results))
    return {row: mpl.colormaps["tab10"](index % 10) for index, row in enumerate(rows)}
