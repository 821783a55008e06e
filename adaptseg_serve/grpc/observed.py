"""gRPC interceptor: each call is recorded, whichever service answers it."""

import asyncio
import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from adaptseg_serve.grpc.errors import is_late
from adaptseg_serve.http.middleware import request_id_of
from adaptseg_serve.record import RequestRecord, WriteLater, recording

QUIET = ("/grpc.", "/inference.GRPCInferenceService/Server", "/inference.GRPCInferenceService/ModelReady")
"""Health, reflection and the like: logged at level debug."""
OUR_FAULT = frozenset({"INTERNAL", "UNKNOWN"})

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class Observed(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Records each call, its status and, where there is one request, its bytes."""

    def __init__(self) -> None:
        self._later = WriteLater()

    def flush(self) -> None:
        """Write what is recorded so far; for when the server stops."""
        self._later.flush()

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.unary_unary is not None:
            plain = handler._replace(request_deserializer=None, response_serializer=None)
            return plain._replace(unary_unary=_one(handler, details, self._later))
        if handler.stream_stream is not None:
            stream = _yielded if inspect.isasyncgenfunction(handler.stream_stream) else _written
            return handler._replace(stream_stream=stream(handler.stream_stream, details, self._later))
        return handler


def _one(handler: Any, details: Any, later: WriteLater) -> Any:
    """Bytes in, bytes out: a message that is asked for its size serialises itself to count."""

    async def recorded(data: bytes, context: Any) -> bytes:
        with _recording(details, context, later) as record:
            record.bytes_in = len(data)
            request = None
            try:
                request = await _read(handler, data, context)
                data = b""
                answer: bytes = handler.response_serializer(await handler.unary_unary(request, context))
            except grpc.aio.AbortError as error:
                data, request = b"", None
                raise _without_frames(error) from None
            record.bytes_out = len(answer)
            return answer

    return recorded


async def _read(handler: Any, data: bytes, context: Any) -> Any:
    try:
        return handler.request_deserializer(data)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The message is not what the .proto file says.")


def _written(answer: Any, details: Any, later: WriteLater) -> Any:
    """A stream whose handler writes its responses to the context."""

    async def recorded(requests: AsyncIterator[Any], context: Any) -> None:
        with _recording(details, context, later):
            try:
                await answer(requests, context)
            except grpc.aio.AbortError as error:
                raise _without_frames(error) from None

    return recorded


def _yielded(answer: Any, details: Any, later: WriteLater) -> Any:
    """A stream whose handler yields its responses."""

    async def recorded(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        with _recording(details, context, later):
            try:
                async for response in answer(requests, context):
                    yield response
            except grpc.aio.AbortError as error:
                raise _without_frames(error) from None

    return recorded


def _without_frames(error: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """gRPC and an aborted call's exception hold each other until the collector comes by, which after `gc.freeze` is
    seldom: through the exception's frames they would hold the request, too, half a megabyte for each refused image."""
    error.__context__ = None
    return error.with_traceback(None)


@contextmanager
def _recording(details: Any, context: Any, later: WriteLater) -> Iterator[RequestRecord]:
    metadata = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
    request_id = request_id_of(metadata) or uuid.uuid4().hex
    with recording("grpc", details.method, request_id, metadata, later) as record:
        try:
            yield record
        except (asyncio.CancelledError, GeneratorExit):
            record.status = "DEADLINE_EXCEEDED" if is_late(context) else "CANCELLED"
            raise
        finally:
            record.status = record.status or _status(context)
            record.level = _level(record)


def _status(context: Any) -> str:
    """Name of the status that `abort` set; a handler that just returned set none."""
    code = context.code()
    return str(code.name) if isinstance(code, grpc.StatusCode) else "OK"


def _level(record: RequestRecord) -> int:
    if record.status in ("OK", "CANCELLED"):
        return logging.DEBUG if record.call.startswith(QUIET) else logging.INFO
    return logging.ERROR if record.status in OUR_FAULT else logging.WARNING
