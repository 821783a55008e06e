"""The Starlette app: our own routes under /v1, the Open Inference Protocol under /v2, metrics, and the page."""

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from adaptseg_serve.errors import Busy, RequestError
from adaptseg_serve.http.answers import class_rows
from adaptseg_serve.http.methods import METHODS, refuse_method
from adaptseg_serve.http.oip import oip_routes
from adaptseg_serve.http.openapi import document
from adaptseg_serve.http.problems import on_http_exception, on_request_error
from adaptseg_serve.http.segment import answer
from adaptseg_serve.segmenter import Segmenter

PAGE = Path(__file__).parents[1] / "page"


def create_app(segmenter: Segmenter | None = None) -> Starlette:
    """The HTTP door. `segmenter` may come later, as `app.state.segmenter`; until then requests get a 503.

    Whoever serves it puts the middleware of `http.middleware` around it.
    """
    app = Starlette(
        routes=[
            Route("/v1/segment", segment, methods=["POST"]),
            Route("/v1/labels", labels),
            Route("/v1/models", models),
            Route("/v1/{rest:path}", missing, methods=METHODS),
            *oip_routes(segmenter_of),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            *page_routes(PAGE),
        ],
        exception_handlers={RequestError: on_request_error, HTTPException: on_http_exception},
    )
    app.state.segmenter = segmenter
    return app


def segmenter_of(request: Request) -> Segmenter:
    segmenter: Segmenter | None = request.app.state.segmenter
    if segmenter is None:
        raise Busy("The service is still loading. Send the request again later.", 2.0)
    return segmenter


async def segment(request: Request) -> Response:
    return await answer(request, segmenter_of(request))


async def labels(request: Request) -> Response:
    label_set = segmenter_of(request).bundle.labels
    return JSONResponse({"label_set": label_set.name, "ignore_id": 255, "classes": class_rows(label_set)})


async def models(request: Request) -> Response:
    return JSONResponse({"models": [model_card(segmenter_of(request))]})


async def metrics(request: Request) -> Response:
    return Response(segmenter_of(request).metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(request: Request) -> Response:
    return JSONResponse(document())


def model_card(segmenter: Segmenter) -> dict[str, Any]:
    """What the page and `GET /v1/models` say of the bundle."""
    bundle = segmenter.bundle
    manifest = bundle.manifest
    return {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "ready": segmenter.ready,
        "runtime": segmenter.runtime,
        "created": manifest["created"],
        "producer": manifest["producer"],
        "generator": manifest["generator"],
        "input": {
            "size": list(bundle.preprocess.size),
            "types": ["image/jpeg", "image/png"],
            "max_pixels": segmenter.settings.max_pixels,
            "max_body_bytes": segmenter.settings.max_body_bytes,
        },
        "label_set": bundle.labels.name,
        "classes": list(bundle.labels.names),
        "training": manifest["training"],
        "metrics": manifest["metrics"],
        "parity": manifest["parity"],
    }


async def missing(request: Request) -> Response:
    refuse_method(request)
    raise HTTPException(404, "There is nothing here; see /v1/segment, /v1/labels and /v1/models.")


def page_routes(folder: Path) -> list[BaseRoute]:
    """`/` and each file of the page by name: a mount at / would hide BentoML's own routes."""
    routes: list[BaseRoute] = [Route("/", _file(folder / "index.html"))]
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.is_dir():
            routes.append(Mount(f"/{entry.name}", StaticFiles(directory=entry)))
        elif entry.suffix != ".py":
            routes.append(Route(f"/{entry.name}", _file(entry)))
    return routes


def _file(path: Path) -> Any:
    async def send_file(request: Request) -> Response:
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    return send_file
