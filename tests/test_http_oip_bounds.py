"""The Open Inference Protocol over HTTP, in process: what waits is bounded, and every wait has an end."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.doors import PacedPredictor, until

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.http.app import create_app
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

INFER = "/v2/models/segmenter/infer"
SIZE = (48, 64)
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, *SIZE, 3], "data": [7] * (SIZE[0] * SIZE[1] * 3)}
QUESTION: dict[str, Any] = {"inputs": [TENSOR]}


def asked(
    bundle: Path,
    work: Callable[[httpx.AsyncClient, Segmenter], Awaitable[None]],
    predictor: PacedPredictor | None = None,
    **settings: Any,
) -> None:
    """`work` with a client of the app before a Segmenter of its own."""

    async def main() -> None:
        segmenter = Segmenter(open_bundle(bundle), Settings(**settings), predictor=predictor)
        await segmenter.start()
        if predictor is not None:
            predictor.batches.clear()
        transport = httpx.ASGITransport(app=create_app(segmenter))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            await work(client, segmenter)
        await segmenter.close(0)

    asyncio.run(main())


def test_bodies_that_wait_to_be_read_count_as_waiting(tiny_bundle: Path) -> None:
    async def work(client: httpx.AsyncClient, segmenter: Segmenter) -> None:
        held = threading.Event()
        blocked = [asyncio.create_task(segmenter.codec(lambda: held.wait(20))) for _ in range(2)]
        await asyncio.sleep(0)
        calls = [asyncio.create_task(client.post(INFER, json=QUESTION)) for _ in range(6)]
        refused = [await call for call in itertools.islice(asyncio.as_completed(calls), 4)]
        assert not any(each.done() for each in blocked), "refused at once, not when their turn came"
        held.set()
        await asyncio.gather(*blocked)
        assert {answer.status_code for answer in refused} == {503}
        assert sorted(answer.status_code for answer in await asyncio.gather(*calls)) == [200] * 2 + [503] * 4

    asked(tiny_bundle, work, codec_threads=2, queue_depth=2)


def test_a_request_expires_at_its_deadline(tiny_bundle: Path) -> None:
    predictor = PacedPredictor()

    async def work(client: httpx.AsyncClient, segmenter: Segmenter) -> None:
        predictor.gate.clear()
        running = asyncio.create_task(client.post(INFER, json=QUESTION))
        await until(lambda: bool(predictor.batches))
        late = await client.post(INFER, json=QUESTION, headers={"X-Request-Timeout-Ms": "200"})
        assert late.status_code == 504
        assert segmenter.metrics.images == 0
        predictor.gate.set()
        assert (await running).status_code == 200
        assert len(predictor.batches) == 1, "what expired never ran"

    asked(tiny_bundle, work, predictor)


@pytest.mark.parametrize("path", [INFER, "/v1/segment"])
@pytest.mark.parametrize(
    ("settings", "headers"), [({}, {"X-Request-Timeout-Ms": "300"}), ({"timeout": 0.3}, {})], ids=["header", "default"]
)
def test_a_body_that_stalls_is_given_up_at_the_deadline(
    tiny_bundle: Path, path: str, settings: dict[str, float], headers: dict[str, str]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 100
        await asyncio.sleep(60)

    async def work(client: httpx.AsyncClient, segmenter: Segmenter) -> None:
        answer = await asyncio.wait_for(client.post(path, content=body(), headers=headers), 20)
        assert answer.status_code == 504
        assert "The body had not come" in answer.text

    asked(tiny_bundle, work, **settings)
