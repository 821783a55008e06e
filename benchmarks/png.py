"""A label map as PNG: ours against Pillow, OpenCV, and what else was tried for ours.

    python benchmarks/png.py [--size 1024 2048] [--rounds 9] [--maps FOLDER_OF_LABEL_PNGS]

`smooth` and `hard` are label maps of blurred noise (hard: 41 % of the 8x8 cells hold a border), `noise` is the worst
case; --maps adds the first label map of a folder, resized by nearest. "ours" is adaptseg_serve.png; "up isal 2" is
filter up + ISA-L level 2, and so on (needs `isal`). Every answer is decoded by Pillow and compared. The last line is
JSON.
"""

import argparse
import importlib
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from contest import machine, take_turns
from PIL import Image
from zlib_ng import zlib_ng

from adaptseg_serve import png
from adaptseg_serve.labels import CITYSCAPES
from adaptseg_serve.tail import label_map_from_logits

PALETTE = CITYSCAPES.palette()
Encode = Callable[[np.ndarray], bytes]


def opencv(*flags: int) -> Encode:
    """Grey, for OpenCV writes no palettes."""
    return lambda label_map: cv2.imencode(".png", label_map, list(flags))[1].tobytes()


def pillow(**options: Any) -> Encode:
    def encode(label_map: np.ndarray) -> bytes:
        image = Image.fromarray(label_map)
        image.putpalette(PALETTE.tobytes())
        stream = io.BytesIO()
        image.save(stream, "PNG", **options)
        return stream.getvalue()

    return encode


def framed(deflate: Callable[[np.ndarray], bytes], filter_up: bool) -> Encode:
    """Our frame around another deflate, with or without the filter."""

    def encode(label_map: np.ndarray) -> bytes:
        rows = png._filter_up(label_map) if filter_up else np.pad(label_map, ((0, 0), (1, 0)))
        header = png.struct.pack(">IIBBBBB", label_map.shape[1], label_map.shape[0], 8, 3, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"PLTE", PALETTE.tobytes()), (b"IDAT", deflate(rows)), (b"IEND", b""))
        return png._SIGNATURE + b"".join(b"".join(png._chunk(*chunk)) for chunk in chunks)

    return encode


def packed(module: Any, level: int, strategy: int) -> Callable[[np.ndarray], bytes]:
    def deflate(rows: np.ndarray) -> bytes:
        packer = module.compressobj(level, module.DEFLATED, 15, 9, strategy)
        return bytes(packer.compress(rows) + packer.flush())

    return deflate


def ways() -> dict[str, Encode]:
    found: dict[str, Encode] = {
        "ours": lambda label_map: png.encode_palette_png(label_map, PALETTE),
        "pillow": pillow(),
        "pillow level 1": pillow(compress_level=1),
        "opencv": opencv(),
        "opencv level 1 rle up": opencv(
            cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
            cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP,
        ),
        "none zlib-ng 2 rle": framed(packed(zlib_ng, 2, zlib_ng.Z_RLE), False),
        "up zlib-ng 1 default": framed(packed(zlib_ng, 1, zlib_ng.Z_DEFAULT_STRATEGY), True),
        "up zlib-ng 6 default": framed(packed(zlib_ng, 6, zlib_ng.Z_DEFAULT_STRATEGY), True),
        "up zlib-ng 2 huffman": framed(packed(zlib_ng, 2, zlib_ng.Z_HUFFMAN_ONLY), True),
        "up zlib 1 rle": framed(packed(zlib, 1, zlib.Z_RLE), True),
    }  # fmt: skip
    try:
        isal = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return found
    for level in (0, 1, 2, 3):
        found[f"up isal {level}"] = framed(lambda rows, level=level: isal.compress(rows, level), True)
    return found


def maps(size: tuple[int, int], folder: Path | None) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(size=(19, size[0] // 8 + 1, size[1] // 8 + 1)).astype(np.float32)
    found = {}
    for name, sigma in (("smooth", 6), ("hard", 3)):
        logits = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in noise])
        found[name] = label_map_from_logits(logits, size)
    found["noise"] = np.random.default_rng(0).integers(0, 19, size, dtype=np.uint8)
    if folder:
        label_map = cv2.imread(str(sorted(folder.glob("*.png"))[0]), cv2.IMREAD_GRAYSCALE)
        found["real"] = cv2.resize(label_map, size[::-1], interpolation=cv2.INTER_NEAREST)
    return found


def equal(data: bytes, label_map: np.ndarray) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return bool(np.array_equal(np.asarray(image), label_map))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--maps", type=Path)
    options = parser.parse_args()
    size = (int(options.size[0]), int(options.size[1]))
    report: dict[str, Any] = {"benchmark": "png", "size": size, **machine(), "results": {}}
    encoders = ways()
    for scene, label_map in maps(size, options.maps).items():
        print(f"\n{scene}: {size}")
        print(f"{'':22s} {'median ms':>10s} {'best ms':>8s} {'CPU ms':>8s} {'bytes':>9s} equal")
        times = take_turns({n: lambda e=e, m=label_map: e(m) for n, e in encoders.items()}, options.rounds)
        rows = report["results"][scene] = {}
        for name, taken in times.items():
            data = encoders[name](label_map)
            row = rows[name] = {**taken, "bytes": len(data), "equal": equal(data, label_map)}
            print(
                f"{name:22s} {row['median_ms']:10.2f} {row['best_ms']:8.2f} {row['cpu_ms']:8.2f} "
                f"{row['bytes']:9d} {row['equal']}"
            )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
