"""`POST /v1/segment`, and what it shares with BentoML's twin `POST /segment`."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adaptseg_serve.errors import RequestError
from adaptseg_serve.http.answers import encode_answer
from adaptseg_serve.http.body import read_body
from adaptseg_serve.http.parameters import Wanted, read_wanted
from adaptseg_serve.http.problems import internal_problem, problem_of
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that went away; nobody sees it but the log and the metrics."""

T = TypeVar("T")

log = logging.getLogger(__name__)


async def answer(request: Request, segmenter: Segmenter) -> Response:
    """The answer to one segmentation request, errors included."""
    try:
        response = await _segment(request, segmenter)
    except RequestError as error:
        segmenter.metrics.request("http", "error", error.name)
        return problem_of(error)
    except ClientDisconnect:
        segmenter.metrics.request("http", "error", "client-closed")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Exception:
        log.exception("A request failed")
        segmenter.metrics.request("http", "error", "internal")
        return internal_problem()
    segmenter.metrics.request("http", "ok")
    return response


async def _segment(request: Request, segmenter: Segmenter) -> Response:
    data, parameters = await read_body(request)
    wanted = read_wanted(parameters, request.headers)
    work = segmenter.segment_encoded(
        data,
        size=wanted.size,
        deadline=wanted.deadline,
        keep_image=wanted.render == "overlay",
        scored=bool(wanted.maps),
    )
    segmentation = await while_connected(request, work)
    return await _encode(segmentation, wanted, segmenter)


async def _encode(segmentation: Segmentation, wanted: Wanted, segmenter: Segmenter) -> Response:
    started = time.monotonic()
    response = await segmenter.codec(lambda: encode_answer(segmentation, wanted))
    encoded = time.monotonic() - started
    segmenter.metrics.stage("encode", encoded)
    timings = segmentation.timings
    stages = {"decode": timings.decode, "queue": timings.queue, "infer": timings.infer, "encode": encoded}
    response.headers["Server-Timing"] = ", ".join(f"{name};dur={1000 * s:.3f}" for name, s in stages.items())
    response.headers["X-Model-Version"] = segmentation.bundle.version
    return response


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
        for future in (task, watcher):
            future.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
