"""The Open Inference Protocol over HTTP, under /v2, as NVIDIA's tritonclient speaks it. Errors are {"error": ...}."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adaptseg_serve import oip, oip_model
from adaptseg_serve.errors import NotFound, RequestError
from adaptseg_serve.http.methods import METHODS, refuse_method
from adaptseg_serve.http.oip_body import HEADER_LENGTH, InferRequest, decompress, read_request, write_answer
from adaptseg_serve.http.outcome import counted
from adaptseg_serve.http.problems import internal_oip_error, oip_error_of
from adaptseg_serve.http.segment import answer_headers, deadline_of, uploading, while_connected
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.segmenter import Segmenter

SegmenterOf = Callable[[Request], Segmenter]
"""The segmenter that answers a request; raises Busy while there is none."""

Handler = Callable[[Request, Segmenter], Awaitable[Response]]


def oip_routes(segmenter_of: SegmenterOf) -> list[Route]:
    """Routes of the protocol, for an app whose segmenter may come later."""
    routes = [Route("/v2/health/live", _live(segmenter_of)), Route("/v2", _endpoint(segmenter_of, _server))]
    routes.append(Route("/v2/health/ready", _endpoint(segmenter_of, _ready)))
    routes.append(Route("/v2/models/stats", _endpoint(segmenter_of, _statistics)))
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes.append(Route(model, _endpoint(segmenter_of, _metadata)))
        routes.append(Route(f"{model}/ready", _endpoint(segmenter_of, _model_ready)))
        routes.append(Route(f"{model}/config", _endpoint(segmenter_of, _config)))
        routes.append(Route(f"{model}/stats", _endpoint(segmenter_of, _statistics)))
        routes.append(Route(f"{model}/infer", _counted(segmenter_of), methods=["POST"]))
    return [*routes, Route("/v2/{rest:path}", _endpoint(segmenter_of, _missing), methods=METHODS)]


def _endpoint(segmenter_of: SegmenterOf, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request, segmenter_of(request))
        except RequestError as error:
            return oip_error_of(error)

    return endpoint


def _counted(segmenter_of: SegmenterOf) -> Callable[[Request], Awaitable[Response]]:
    """Like `_endpoint`, for inference: its outcomes are counted, and nothing it raises goes further."""

    async def endpoint(request: Request) -> Response:
        try:
            segmenter = segmenter_of(request)
        except RequestError as error:
            return oip_error_of(error)
        return await counted(_infer(request, segmenter), segmenter.metrics, oip_error_of, internal_oip_error)

    return endpoint


def _live(segmenter_of: SegmenterOf) -> Callable[[Request], Awaitable[Response]]:
    async def live(request: Request) -> Response:
        try:
            found = segmenter_of(request).live
        except RequestError:  # It loads: that is alive.
            found = True
        return JSONResponse({"live": found}, 200 if found else 503)

    return live


async def _ready(request: Request, segmenter: Segmenter) -> Response:
    return JSONResponse({"ready": segmenter.ready}, 200 if segmenter.ready else 503)


async def _server(request: Request, segmenter: Segmenter) -> Response:
    return JSONResponse(oip_model.SERVER)


async def _metadata(request: Request, segmenter: Segmenter) -> Response:
    _check_model(request, segmenter)
    return JSONResponse(oip_model.metadata(segmenter))


async def _model_ready(request: Request, segmenter: Segmenter) -> Response:
    _check_model(request, segmenter)
    return await _ready(request, segmenter)


async def _config(request: Request, segmenter: Segmenter) -> Response:
    _check_model(request, segmenter)
    return JSONResponse(oip_model.config(segmenter))


async def _statistics(request: Request, segmenter: Segmenter) -> Response:
    if "name" in request.path_params:
        _check_model(request, segmenter)
    return JSONResponse(oip_model.statistics(segmenter))


async def _missing(request: Request, segmenter: Segmenter) -> Response:
    refuse_method(request)
    raise NotFound(f"There is nothing at {request.url.path!r}; see /v2, /v2/health and /v2/models/NAME.")


async def _infer(request: Request, segmenter: Segmenter) -> Response:
    deadline = deadline_of(request, segmenter)
    _check_model(request, segmenter)
    async with uploading(deadline):
        body = await request.body()
    return await while_connected(request, _respond(request, body, deadline, segmenter))


async def _respond(request: Request, body: bytes, deadline: float, segmenter: Segmenter) -> Response:
    with segmenter.admitted() as served, served.decoding_slot():
        wanted, images = await segmenter.codec(lambda: _read(request, body, segmenter), deadline, "read")
    _check_model(request, segmenter)  # Again: another bundle may have come while the body did.
    sooner = oip.sooner(deadline, wanted.timeout)
    answers = await oip.infer(segmenter, images, sooner)
    started = time.monotonic()
    with segmenter.metrics.timed("encode"):
        response = await segmenter.codec(lambda: _write(request, wanted, answers), sooner, "encoded")
    response.headers.update(answer_headers(answers, time.monotonic() - started))
    return response


def _read(request: Request, body: bytes, segmenter: Segmenter) -> tuple[InferRequest, list[oip.OneImage]]:
    settings, headers = segmenter.settings, request.headers
    plain = decompress(body, headers.get("content-encoding", "").strip().lower(), settings.max_body_bytes)
    wanted = read_request(plain, headers.get(HEADER_LENGTH))
    return wanted, oip.read_images(wanted.tensors, settings.max_batch)


def _write(request: Request, wanted: InferRequest, answers: list[Segmentation]) -> Response:
    version = oip_model.model_version(answers[0].bundle)
    body, length = write_answer(wanted, answers, request.path_params["name"], version)
    if not wanted.binary:
        return Response(body, media_type="application/json")
    return Response(body, headers={HEADER_LENGTH: str(length)}, media_type="application/octet-stream")


def _check_model(request: Request, segmenter: Segmenter) -> None:
    oip_model.check_model(segmenter, request.path_params["name"], request.path_params.get("version", ""))
