"""What becomes of an inference over HTTP: one response and one count, whatever it meets."""

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from adaptseg_serve.errors import RequestError
from adaptseg_serve.metrics import Metrics

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that went away; nobody sees it but the log and the metrics."""

log = logging.getLogger(__name__)


async def counted(
    work: Awaitable[Response],
    metrics: Metrics,
    refused: Callable[[RequestError], Response],
    failed: Callable[[], Response],
) -> Response:
    """The response that `work` makes; or `refused` makes of its RequestError, or `failed` of what is our own fault."""
    try:
        response = await work
    except RequestError as error:
        metrics.request("http", "error", error.name)
        return refused(error)
    except ClientDisconnect:
        metrics.request("http", "error", "client-closed")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Exception:
        log.exception("A request failed")
        metrics.request("http", "error", "internal")
        return failed()
    metrics.request("http", "ok")
    return response
