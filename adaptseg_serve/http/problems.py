"""Errors as RFC 9457 problem details. Their `type` is stable; programs may compare it."""

import http
import json
import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adaptseg_serve import record
from adaptseg_serve.errors import FAILED, MAX_DETAILS, Busy, RequestError

TYPE_PREFIX = "urn:adaptseg:error:"


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """In ASCII: a client's text with a lone surrogate in it can be quoted back."""
        return json.dumps(content).encode("ascii")


def _cut(text: str) -> str:
    """Of what may quote a client: a name of megabytes is nothing to send back."""
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]} ..."


def problem(status: int, name: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    content: dict[str, Any] = {
        "type": TYPE_PREFIX + name,
        "title": name.replace("-", " ").capitalize(),
        "status": status,
        "detail": _cut(detail),
    }
    return ProblemResponse(content, status, headers)


def problem_of(error: RequestError) -> Response:
    return problem(error.status, error.name, str(error), _retry_after(error))


def refusal_of(error: RequestError, path: str) -> Response:
    """In the words of the protocol that `path` belongs to, and in the request's log line."""
    record.refused(error.name)
    return oip_error_of(error) if _is_oip(path) else problem_of(error)


def _is_oip(path: str) -> bool:
    return f"{path}/".startswith("/v2/")


def oip_error_of(error: RequestError) -> Response:
    """The same in the Open Inference Protocol's words, for everything under /v2."""
    return _oip_error(error.status, str(error), _retry_after(error))


def _oip_error(status: int, detail: str, headers: dict[str, str] | None) -> Response:
    # json.dumps writes ASCII: a name with a lone surrogate in it can be quoted back.
    return Response(json.dumps({"error": _cut(detail)}), status, headers, "application/json")


def _retry_after(error: RequestError) -> dict[str, str] | None:
    return {"Retry-After": str(math.ceil(error.retry_after))} if isinstance(error, Busy) else None


def internal_problem() -> Response:
    return problem(500, "internal", FAILED)


def internal_oip_error() -> Response:
    return _oip_error(500, FAILED, None)


async def on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return problem_of(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    phrase = http.HTTPStatus(error.status_code).phrase
    detail, headers = f"{request.method} {request.url.path}: {error.detail}", dict(error.headers or {})
    if _is_oip(request.url.path):
        return _oip_error(error.status_code, detail, headers)
    return problem(error.status_code, phrase.lower().replace(" ", "-"), detail, headers)
