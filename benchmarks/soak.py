"""Does the service's memory stay flat, whatever comes? `python benchmarks/soak.py --requests 10000`

Starts `bentoml serve` and sends it a seeded mixture, through both doors, a few at a time: good images, streams that
are left early, bytes that are no image, bodies and images beyond the limits, deadlines that pass, clients that hang
up. Prints one JSON line: what became of each kind, the worker's resident memory (MB) at each twentieth of the way, and
the most that it ever had. The first fifth is warming up (allocator arenas, connections); growth counts from there.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import psutil
from contest import machine
from gate_bytes import huge_png, peak_mb
from helpers.serving import Server, serving

from adaptseg_serve.bundle import packaged_bundle
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc

AT_ONCE = 4
MARKS = 20
WARM = 4
LATE = frozenset({"503", "504"})
"""What whoever waits may get from a machine that is too slow for the mixture."""
HUNG_UP, CUT_OFF = "hung up", "cut off"
"""Outcomes without an answer: the client's doing, and the server's."""

Ask = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of request: how often it comes, and what may become of it; anything else is a fault of the service."""

    ask: Ask
    weight: int
    fine: frozenset[str]

    @property
    def name(self) -> str:
        return self.ask.__name__


def jpeg(seed: int, size: tuple[int, int]) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC))[1].tobytes()


class Mixture:
    """The kinds of request; each returns what became of it: the status, HUNG_UP or CUT_OFF."""

    def __init__(self, http: httpx.AsyncClient, channel: grpc.aio.Channel, size: tuple[int, int]) -> None:
        self._http = http
        self._stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        self._images = [jpeg(seed, size) for seed in range(8)]
        self._huge, self._big = huge_png(), bytes(17 << 20)
        answered, left = frozenset({"200"}) | LATE, frozenset({"200", HUNG_UP}) | LATE
        self.kinds = [Kind(self.good, 20, answered), Kind(self.overlay, 5, answered), Kind(self.rpc, 20, answered)]
        self.kinds += [Kind(ask, 10, frozenset({"400"}) | LATE) for ask in (self.bad, self.bad_rpc)]
        self.kinds += [Kind(self.expired, 10, answered), Kind(self.hung_up, 10, left), Kind(self.cancelled, 10, left)]
        self.kinds += [Kind(self.left_early, 3, left), Kind(self.too_many_pixels, 5, frozenset({"413"}) | LATE)]
        # Whoever still sends after some seconds is hung up on.
        self.kinds += [Kind(self.too_many_bytes, 1, frozenset({"413", CUT_OFF}))]

    async def good(self) -> str:
        return await self._post(self._image())

    async def overlay(self) -> str:
        return await self._post(self._image(), "?render=overlay&include=shares")

    async def bad(self) -> str:
        return await self._post(self._image()[:500])

    async def too_many_pixels(self) -> str:
        return await self._post(self._huge)

    async def too_many_bytes(self) -> str:
        return await self._post(self._big)

    async def expired(self) -> str:
        return await self._post(self._image(), headers={"X-Request-Timeout-Ms": "2"})

    async def hung_up(self) -> str:
        return await self._post(self._image(), timeout=random.uniform(0.001, 0.05))

    async def rpc(self) -> str:
        return await self._call(self._image())

    async def bad_rpc(self) -> str:
        return await self._call(b"no image")

    async def cancelled(self) -> str:
        call = self._stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=self._image())))
        await asyncio.sleep(random.uniform(0, 0.02))
        call.cancel()
        return HUNG_UP

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
        try:
            return str((await self._http.post(f"/v1/segment{query}", content=content, **options)).status_code)
        except httpx.TimeoutException:
            return HUNG_UP
        except httpx.TransportError:
            return CUT_OFF

    async def _call(self, content: bytes) -> str:
        try:
            await self._stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=content)), timeout=30)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            return {"INVALID_ARGUMENT": "400", "RESOURCE_EXHAUSTED": "503", "DEADLINE_EXCEEDED": "504"}.get(code, code)
        return "200"


async def soak(server: Server, requests: int, size: tuple[int, int], seed: int = 0) -> dict[str, Any]:
    """Send so many requests; outcomes by kind, memory in MB at each mark, its growth after the warm-up and its peak."""
    random.seed(seed)
    order = random.Random(seed)  # its own: how often the others are asked depends on the clock
    worker = psutil.Process(server.process.pid).children(recursive=True)[-1]
    memory: list[float] = []
    async with (
        httpx.AsyncClient(base_url=server.http_url, timeout=60) as http,
        grpc.aio.insecure_channel(server.grpc_target) as channel,
    ):
        kinds = Mixture(http, channel, size).kinds
        outcomes: dict[str, Counter[str]] = {kind.name: Counter() for kind in kinds}
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(kind: Kind) -> None:
            async with slots:
                outcomes[kind.name][await kind.ask()] += 1

        for _ in range(MARKS):
            asked = order.choices(kinds, [kind.weight for kind in kinds], k=requests // MARKS)
            await asyncio.gather(*map(one, asked))
            memory.append(round(worker.memory_info().rss / 1e6, 1))
    return {
        "requests": sum(found.total() for found in outcomes.values()),
        "outcomes": {name: dict(sorted(found.items())) for name, found in outcomes.items()},
        "faults": sum(n for kind in kinds for outcome, n in outcomes[kind.name].items() if outcome not in kind.fine),
        "memory_mb": memory,
        "growth_mb": round(memory[-1] - max(memory[:WARM]), 1),
        "peak_mb": round(peak_mb(server), 1),
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
