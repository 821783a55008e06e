"""Does the service's memory stay flat, whatever comes? `python benchmarks/soak.py --requests 10000`

Starts `bentoml serve` and sends it a seeded mixture, through both doors, a few at a time: good images, streams that
are left early, bytes that are no image, bodies and images beyond the limits, deadlines that pass, clients that hang
up. Prints one JSON line: what was answered, and the worker's resident memory (MB) at each twentieth of the way. The
first fifth is warming up (allocator arenas, connections); growth counts from there.
"""

import argparse
import asyncio
import json
import random
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import psutil
from contest import machine

from adaptseg_serve.bundle import packaged_bundle
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # The tests start servers the same way.
from helpers.serving import Server, serving

AT_ONCE = 4
MARKS = 20
WARM = 4
FINE = frozenset({"200", "400", "413", "415", "422", "503", "504"})
"""Outcomes a service may have; any other number is a fault of its own."""

Ask = Callable[[], Awaitable[str]]


def jpeg(seed: int, size: tuple[int, int]) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC))[1].tobytes()


def huge_png(side: int = 13000) -> bytes:
    """The head of a PNG that would decode to half a gigabyte."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


class Mixture:
    """The kinds of request; each returns what came of it."""

    def __init__(self, http: httpx.AsyncClient, channel: grpc.aio.Channel, size: tuple[int, int]) -> None:
        self._http = http
        self._stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        self._images = [jpeg(seed, size) for seed in range(8)]
        self._huge, self._big = huge_png(), bytes(17 << 20)
        self.kinds: list[Ask] = [self.good, self.overlay, self.rpc, self.bad, self.bad_rpc, self.too_many_pixels]
        self.kinds += [self.expired, self.hung_up, self.cancelled, self.left_early, self.too_many_bytes]
        self.weights = [20, 5, 20, 10, 10, 5, 10, 10, 10, 3, 1]

    async def good(self) -> str:
        return await self._post(self._image())

    async def overlay(self) -> str:
        return await self._post(self._image(), "?render=overlay&include=shares")

    async def bad(self) -> str:
        return await self._post(self._image()[:500])

    async def too_many_pixels(self) -> str:
        return await self._post(self._huge)

    async def too_many_bytes(self) -> str:
        try:
            return await self._post(self._big)
        except httpx.TransportError:
            return "413"  # The server hung up on the rest of the body.

    async def expired(self) -> str:
        return await self._post(self._image(), headers={"X-Request-Timeout-Ms": "2"})

    async def hung_up(self) -> str:
        try:
            return await self._post(self._image(), timeout=random.uniform(0.001, 0.05))
        except httpx.TimeoutException:
            return "hung up"

    async def rpc(self) -> str:
        return await self._call(self._image())

    async def bad_rpc(self) -> str:
        return await self._call(b"no image")

    async def cancelled(self) -> str:
        call = self._stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=self._image())))
        await asyncio.sleep(random.uniform(0, 0.02))
        call.cancel()
        return "hung up"

    async def left_early(self) -> str:
        async def frames() -> Any:
            for number in range(5):
                yield pb.StreamSegmentRequest(frame_id=number, image=pb.Image(encoded=self._image()))

        call = self._stub.StreamSegment(frames())
        async for _ in call:
            break
        call.cancel()
        return "200"

    def _image(self) -> bytes:
        return random.choice(self._images)

    async def _post(self, content: bytes, query: str = "", **options: Any) -> str:
        return str((await self._http.post(f"/v1/segment{query}", content=content, **options)).status_code)

    async def _call(self, content: bytes) -> str:
        try:
            await self._stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=content)), timeout=30)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            return {"INVALID_ARGUMENT": "400", "RESOURCE_EXHAUSTED": "503", "DEADLINE_EXCEEDED": "504"}.get(code, code)
        return "200"


async def soak(server: Server, requests: int, size: tuple[int, int], seed: int = 0) -> dict[str, Any]:
    """Send so many requests; outcomes, memory in MB at each mark, and its growth after the warm-up."""
    random.seed(seed)
    worker = psutil.Process(server.process.pid).children(recursive=True)[-1]
    outcomes: Counter[str] = Counter()
    memory: list[float] = []
    async with (
        httpx.AsyncClient(base_url=server.http_url, timeout=60) as http,
        grpc.aio.insecure_channel(server.grpc_target) as channel,
    ):
        mixture = Mixture(http, channel, size)
        for _ in range(MARKS):
            slots = asyncio.Semaphore(AT_ONCE)

            async def one(slots: asyncio.Semaphore = slots) -> None:
                async with slots:
                    ask = random.choices(mixture.kinds, mixture.weights)[0]
                    outcomes[await ask()] += 1

            await asyncio.gather(*(one() for _ in range(requests // MARKS)))
            memory.append(round(worker.memory_info().rss / 1e6, 1))
    return {
        "requests": sum(outcomes.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "faults": sum(count for outcome, count in outcomes.items() if outcome not in FINE | {"hung up"}),
        "memory_mb": memory,
        "growth_mb": round(memory[-1] - max(memory[:WARM]), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--bundle", type=Path, default=packaged_bundle())
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(options.bundle, Path(folder)) as server:
        found = asyncio.run(soak(server, options.requests, tuple(options.size)))
    print(json.dumps({"benchmark": "soak", **machine(), **found}))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
