"""Frames a second that one worker reads, decodes and resizes: our loaders against the plain Pillow way.

    python benchmarks/loading.py [--frames 4] [--rounds 5] [--datasets gta5 cityscapes]

Frames are rendered, with a little noise (the size of their PNGs is printed), in the official sizes, layouts and
formats, and resized to the paper's training sizes. Contenders take turns in one run:
  pillow  what a plain loader does: Pillow decodes and resizes image and labels, numpy maps the ids one by one,
          float32 minus the mean, CHW
  ours    ListedImages and Preparer: OpenCV decodes, torch resizes (Pillow's filter; a share of the values, printed,
          is 1 or 2 of 255 off), one lookup table, uint8 CHW (the mean is subtracted on the device)
  exact   ours, but for Pillow's resizing
Files are in the page cache. The last line is JSON.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from contest import machine, take_turns
from numpy.typing import NDArray
from PIL import Image

from adaptseg_serve.labels import CITYSCAPES, GTA5_IDS
from adaptseg_serve.preprocess import PreprocessSpec, reference_spec, resize_label_map
from adaptseg_training.config import Dataset, DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.prepare import Preparer, label_table, resize
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.data.streets import render_street

NOISE = 0.3
NATIVE = {"gta5": (1052, 1914), "cityscapes": (1024, 2048)}
TRAINING = {"gta5": (720, 1280), "cityscapes": (512, 1024)}
MEAN = np.array([104.00698793, 116.66876762, 122.67891434], np.float32)


def write_frames(root: Path, dataset: Dataset, frames: int) -> list[tuple[Path, Path]]:
    """The (image, labels) files of a small tree in the official layout and size."""
    pairs = []
    for seed in range(frames):
        image, label_map = render_street(seed, "day", NATIVE[dataset])
        noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32) * NOISE
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        paths = _paths(root, dataset, seed)
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(paths[0]), np.ascontiguousarray(image[..., ::-1]))
        labels = Image.fromarray(CITYSCAPES.to_label_ids()[label_map])
        if dataset == "gta5":
            labels = labels.convert("P")
        labels.save(paths[1])
        pairs.append(paths)
    return pairs


def _paths(root: Path, dataset: Dataset, seed: int) -> tuple[Path, Path]:
    if dataset == "gta5":
        return root / f"images/{seed + 1:05d}.png", root / f"labels/{seed + 1:05d}.png"
    stem = f"train/aachen/aachen_{seed:06d}_000019"
    return root / f"leftImg8bit/{stem}_leftImg8bit.png", root / f"gtFine/{stem}_gtFine_labelIds.png"


def pillow_way(pairs: list[tuple[Path, Path]], size: tuple[int, int]) -> None:
    for image_path, label_path in pairs:
        image = Image.open(image_path).convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC)
        labels = Image.open(label_path).resize(size[::-1], Image.Resampling.NEAREST)
        ids = np.asarray(labels, np.float32)
        label_map = np.full(ids.shape, 255, np.float32)
        for label_id, train_id in GTA5_IDS.id_map.items():
            label_map[ids == label_id] = train_id
        pixels = np.asarray(image, np.float32)[:, :, ::-1] - MEAN
        np.ascontiguousarray(pixels.transpose(2, 0, 1))


def our_way(images: ImageSet, preparer: Preparer) -> None:
    rng = np.random.default_rng(0)
    for index in range(len(images)):
        preparer(images[index], rng)


def exact_way(images: ImageSet, spec: PreprocessSpec, train_ids: NDArray[np.uint8]) -> None:
    for index in range(len(images)):
        sample = images[index]
        assert sample.label_map is not None
        np.ascontiguousarray(spec.resize_image(sample.image).transpose(2, 0, 1))
        cv2.LUT(resize_label_map(sample.label_map, spec.size), train_ids)


def contest(dataset: Dataset, frames: int, rounds: int) -> dict[str, Any]:
    size = TRAINING[dataset]
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_frames(Path(folder), dataset, frames)
        megabytes = float(np.mean([image.stat().st_size for image, _ in pairs])) / 1e6
        images = open_domain(DomainConfig(dataset, (Path(folder),)), "source")
        table = label_table(images, "cityscapes", "source")
        spec = reference_spec(size)
        preparer = Preparer(spec, False, table)
        ways: dict[str, Callable[[], Any]] = {
            "pillow": partial(pillow_way, pairs, size),
            "ours": partial(our_way, images, preparer),
            "exact": partial(exact_way, images, spec, table),
        }
        times = take_turns(ways, rounds)
        image = images[0].image
        off = np.abs(resize(image, spec).numpy().astype(int) - spec.resize_image(image).transpose(2, 0, 1))
    cpu = {name: t["cpu_ms"] / frames for name, t in times.items()}
    print(f"{dataset}: {NATIVE[dataset]} PNG of {megabytes:.1f} MB -> {size}")
    print(f"  ours differs from exact in {100 * (off > 0).mean():.2f} % of the values, by {off.max()} at most")
    for name, ms in cpu.items():
        ratio = cpu["pillow"] / ms
        print(f"  {name:7s} {ms:6.1f} ms of processor time a frame, {1e3 / ms:5.1f} frames/s, {ratio:.2f}x pillow")
    return {"megabytes": round(megabytes, 2), "cpu_ms_per_frame": {name: round(ms, 2) for name, ms in cpu.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--datasets", nargs="+", choices=list(NATIVE), default=list(NATIVE))
    options = parser.parse_args()
    cv2.setNumThreads(0)  # as in a worker
    torch.set_num_threads(1)
    results = {name: contest(name, options.frames, options.rounds) for name in options.datasets}
    print(json.dumps({"benchmark": "loading", "results": results, "machine": machine()}))


if __name__ == "__main__":
    main()
