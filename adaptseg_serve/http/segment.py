"""`POST /v1/segment`, and what it shares with BentoML's twin `POST /segment`."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adaptseg_serve.errors import DeadlineExceeded
from adaptseg_serve.http.answers import encode_answer
from adaptseg_serve.http.body import read_body
from adaptseg_serve.http.outcome import counted
from adaptseg_serve.http.parameters import Wanted, read_deadline, read_wanted
from adaptseg_serve.http.problems import internal_problem, problem_of
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter

T = TypeVar("T")


async def answer(request: Request, segmenter: Segmenter) -> Response:
    """The answer to one segmentation request, errors included."""
    return await counted(_segment(request, segmenter), segmenter.metrics, problem_of, internal_problem)


def deadline_of(request: Request, segmenter: Segmenter) -> float:
    """When the request expires, in time.monotonic() seconds: ask as soon as its head has come, since the body's way
    counts."""
    own = read_deadline(request.headers.get("x-request-timeout-ms"))
    return time.monotonic() + segmenter.settings.timeout if own is None else own


@asynccontextmanager
async def uploading(deadline: float) -> AsyncIterator[None]:
    """DeadlineExceeded where the body, which the block reads, has not come by then."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError:
        raise DeadlineExceeded("The body had not come by the deadline. Send it faster, or less.") from None


async def _segment(request: Request, segmenter: Segmenter) -> Response:
    deadline = deadline_of(request, segmenter)
    async with uploading(deadline):
        data, parameters = await read_body(request)
    wanted = read_wanted(parameters, request.headers)
    return await while_connected(request, _respond(data, wanted, deadline, segmenter))


async def _respond(data: bytes, wanted: Wanted, deadline: float, segmenter: Segmenter) -> Response:
    segmentation = await segmenter.segment_encoded(
        data,
        size=wanted.size,
        deadline=deadline,
        keep_image=wanted.render == "overlay",
        scored=bool(wanted.maps),
    )
    return await _encode(segmentation, wanted, deadline, segmenter)


async def _encode(segmentation: Segmentation, wanted: Wanted, deadline: float, segmenter: Segmenter) -> Response:
    started = time.monotonic()
    response = await segmenter.codec(lambda: encode_answer(segmentation, wanted), deadline, "encoded")
    encoded = time.monotonic() - started
    segmenter.metrics.stage("encode", encoded)
    response.headers.update(answer_headers([segmentation], encoded))
    return response


def answer_headers(answers: Sequence[Segmentation], encoded: float) -> dict[str, str]:
    """What every answer says beside itself: the bundle's version, and Server-Timing, of the slowest image."""
    timings = [answer.timings for answer in answers]
    stages = {
        "decode": max(each.decode for each in timings),
        "queue": max(each.queue for each in timings),
        "infer": max(each.infer for each in timings),
        "encode": encoded,
    }
    timing = ", ".join(f"{name};dur={1000 * seconds:.3f}" for name, seconds in stages.items())
    return {"Server-Timing": timing, "X-Model-Version": answers[0].bundle.version}


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, but cancel it and raise ClientDisconnect when the client hangs up: queued work is dropped."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()
        del task, watcher  # Else they, their errors and this frame hold each other: see errors.py.


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
