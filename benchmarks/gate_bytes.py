"""Gates 4 and 7: a small file of a huge image costs nothing, and one label map through every door."""

import statistics
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import grpc
import httpx
import numpy as np
import psutil
from gate import TESTS, Gate, frame, png, tiny_server
from helpers.serving import Server
from PIL import Image

from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc

SIDE = 13_000
TIMES = 20


def huge_png(side: int = SIDE) -> bytes:
    """A black RGB image: half a megabyte of file, half a gigabyte of pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_image() -> Gate:
    """Median time of a refusal, and by how much all of them raised the worker's peak memory, through both doors.

    That is more than one takes (`of_one_mb`, the dearest): the allocator keeps what it has had.
    """
    file = huge_png()
    with tiny_server() as server, grpc.insecure_channel(server.grpc_target) as channel, httpx.Client() as client:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)

        def over_http() -> bool:
            return client.post(f"{server.http_url}/v1/segment", content=file).status_code == 413

        def over_grpc() -> bool:
            call = stub.Segment.future(pb.SegmentRequest(image=pb.Image(encoded=file)))
            return bool(call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED)

        _ours(server, png(frame()))  # What the first good image takes is not the huge one's.
        peaks = [peak_mb(server)]
        http_ms = _median_ms(over_http, lambda: peaks.append(peak_mb(server)))
        grpc_ms = _median_ms(over_grpc, lambda: peaks.append(peak_mb(server)))
    most = round(max(after - before for before, after in pairwise(peaks)), 1)
    grown = round(peaks[-1] - peaks[0], 1)
    figures = {"file_kb": len(file) // 1000, "http_ms": http_ms, "grpc_ms": grpc_ms, "peak_grew_mb": grown}
    figures["of_one_mb"] = most
    passed = max(http_ms, grpc_ms) < 10 and grown < 10
    return Gate(4, "a 13000 x 13000 PNG is refused in under 10 ms and 10 MB", passed, figures)


def _median_ms(ask: Callable[[], bool], after: Callable[[], None]) -> float:
    times = []
    for _ in range(TIMES):
        started = time.perf_counter()
        if not ask():
            raise RuntimeError("the huge image was not refused, or for another reason than its size")
        times.append(1000 * (time.perf_counter() - started))
        after()
    return round(statistics.median(times), 2)


def peak_mb(server: Server) -> float:
    """The worker's highest resident memory so far, as the kernel kept it: a moment's peak shows, too."""
    worker = psutil.Process(server.process.pid).children(recursive=True)[-1]
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM"))


def one_label_map() -> Gate:
    """The label map of one image through HTTP (PNG, raw), OIP (HTTP, gRPC, stream), adaptseg.v1 (call, stream)."""
    image = np.ascontiguousarray(cv2.resize(frame(), (900, 700)))
    with tiny_server() as server, TemporaryDirectory() as folder:
        maps = _ours(server, png(image)) | _tritons(server, image, Path(folder))
    first = maps["http_raw"]
    differing = [name for name, found in maps.items() if found != first]
    figures = {"ways": len(maps), "pixels": len(first), "classes": len(set(first)), "differ": len(differing)}
    passed = not differing and len(first) == image.shape[0] * image.shape[1] and len(set(first)) > 1
    return Gate(7, "one label map, byte for byte, through every door", passed, figures)


def _ours(server: Server, file: bytes) -> dict[str, bytes]:
    request = pb.SegmentRequest(image=pb.Image(encoded=file))
    frames = [pb.StreamSegmentRequest(frame_id=1, image=request.image)]
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        called = stub.Segment(request).label_map.train_ids
        streamed = next(iter(stub.StreamSegment(iter(frames)))).result.label_map.train_ids
    pixels = np.asarray(Image.open(BytesIO(_post(server, file, "image/png"))))
    raw = _post(server, file, "application/octet-stream")
    return {"http_png": pixels.tobytes(), "http_raw": raw, "segment": called, "stream": streamed}


def _post(server: Server, file: bytes, accept: str) -> bytes:
    headers = {"Content-Type": "image/png", "Accept": accept}
    with urllib.request.urlopen(urllib.request.Request(f"{server.http_url}/v1/segment", file, headers)) as answer:
        return bytes(answer.read())


def _tritons(server: Server, image: np.ndarray, folder: Path) -> dict[str, bytes]:
    """What tritonclient gets, unary and streamed, pixels and files, in its own process."""
    np.save(folder / "frame.npy", image)
    (folder / "frame.png").write_bytes(png(image))
    address = server.http_url.removeprefix("http://")
    files = ["frame.npy", "frame.png", "out.npz"]
    script = TESTS / "helpers" / "triton_script.py"
    subprocess.run([sys.executable, str(script), address, server.grpc_target, *files], cwd=folder, check=True)
    with np.load(folder / "out.npz") as answers:
        return {f"oip_{name}": answers[name].tobytes() for name in answers.files}
