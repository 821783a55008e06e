"""A RequestError as a gRPC status, and the frame around every call that turns one into the other."""

import asyncio
import logging
import time
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration

from adaptseg_serve import record
from adaptseg_serve.errors import FAILED, MAX_DETAILS, Busy, RequestError
from adaptseg_serve.grpc.stubs.adaptseg.v1.error_details_pb2 import RetryInfo, Status
from adaptseg_serve.segmenter import Segmenter

DETAILS_KEY = "grpc-status-details-bin"
RETRY_INFO_URL = "type.googleapis.com/google.rpc.RetryInfo"

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

ERROR_KEY = "adaptseg-error"
"""Trailer with the name of the error, as a problem document's type has it over HTTP."""

log = logging.getLogger(__name__)


def status_code(error: RequestError, ready: bool = True) -> grpc.StatusCode:
    """The gRPC status of `error`; a service that is loading or draining is UNAVAILABLE, not merely full."""
    if isinstance(error, Busy) and not ready:
        return grpc.StatusCode.UNAVAILABLE
    return _CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)


def answering(context: Any, segmenter: Segmenter, count: bool = True) -> "_Answering":
    """`async with` it: ends the call with the right status where the block raises.

    `count` the call's outcome: it is an inference, and one answer. What fails in the server is counted in any case.
    """
    return _Answering(context, segmenter, count)


class _Answering:
    """A class, not a generator: it is entered for every frame."""

    def __init__(self, context: Any, segmenter: Segmenter, count: bool) -> None:
        self._context, self._segmenter, self._count = context, segmenter, count

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        metrics = self._segmenter.metrics
        match error:
            case None:
                if self._count:
                    metrics.request("grpc", "ok")
            case RequestError():
                if self._count:
                    metrics.request("grpc", "error", error.name)
                else:
                    record.refused(error.name)
                code = status_code(error, self._segmenter.ready)
                await self._context.abort(code, str(error)[:MAX_DETAILS], _trailers(error, code))
            case asyncio.CancelledError():
                if self._count:
                    reason = "deadline-exceeded" if is_late(self._context) else "client-closed"
                    metrics.request("grpc", "error", reason)
            case grpc.aio.AbortError():
                pass
            case Exception():
                log.error("A gRPC call failed", exc_info=error)
                metrics.request("grpc", "error", "internal")
                await self._context.abort(grpc.StatusCode.INTERNAL, FAILED)


def is_late(context: Any) -> bool:
    """Has the call's deadline passed? gRPC cancels such a call, as it does one that the client gives up."""
    remaining = context.time_remaining()
    return remaining is not None and remaining <= 0


def deadline_of(context: Any) -> float | None:
    """The call's deadline in time.monotonic() seconds; None where the client set none."""
    remaining: float | None = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


def _trailers(error: RequestError, code: grpc.StatusCode) -> tuple[tuple[str, str | bytes], ...]:
    """The error's name, which is finer than the status; google.rpc.RetryInfo, where trying again later makes sense."""
    named = (ERROR_KEY, error.name)
    if not isinstance(error, Busy):
        return (named,)
    delay = Duration()
    delay.FromNanoseconds(round(error.retry_after * 1e9))
    retry = AnyMessage(type_url=RETRY_INFO_URL, value=RetryInfo(retry_delay=delay).SerializeToString())
    details = Status(code=code.value[0], message=str(error), details=[retry])
    return (
        named,
        (DETAILS_KEY, details.SerializeToString()),
    )
