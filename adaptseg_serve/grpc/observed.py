"""gRPC interceptor: each call is recorded, whichever service answers it."""

import asyncio
import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from adaptseg_serve.errors import BadParameter
from adaptseg_serve.grpc.errors import is_late
from adaptseg_serve.http.middleware import request_id_of
from adaptseg_serve.later import Later
from adaptseg_serve.record import Identity, Recording, RequestRecord, write

QUIET = ("/grpc.", "/inference.GRPCInferenceService/Server", "/inference.GRPCInferenceService/ModelReady")
"""Health, reflection and the like: logged at level debug."""
OUR_FAULT = frozenset({"INTERNAL", "UNKNOWN"})
MALFORMED = "The message is not what the .proto file says."

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class Observed(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Records each call, its status and, where there is one request, its bytes; writes it down `later`."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._under_way = 0
        """Unary calls."""

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.unary_unary is not None:
            plain = handler._replace(request_deserializer=None, response_serializer=None)
            return plain._replace(unary_unary=self._one(handler, details))
        if handler.stream_stream is not None:
            stream = _yielded if inspect.isasyncgenfunction(handler.stream_stream) else _written
            return handler._replace(request_deserializer=None, stream_stream=stream(handler, details, self._later))
        if handler.unary_stream is not None:
            return handler._replace(request_deserializer=None, unary_stream=_watched(handler))
        return handler

    def _one(self, handler: Any, details: Any) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """Bytes in, bytes out: a message that is asked for its size serialises itself to count."""

        async def recorded(data: bytes, context: Any) -> bytes:
            self._under_way += 1
            try:
                with _Recording(details, context, self._later) as record:
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
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self._later.soon()

        return recorded


async def _read(handler: Any, data: bytes, context: Any) -> Any:
    try:
        return handler.request_deserializer(data)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, MALFORMED)


def _watched(handler: Any) -> Any:
    """One request and a stream that is written to the context: health's Watch. It is not recorded: it may last days."""

    async def watched(data: bytes, context: Any) -> None:
        await handler.unary_stream(await _read(handler, data, context), context)

    return watched


def _written(handler: Any, details: Any, later: Later) -> Any:
    """A stream whose handler writes its responses to the context."""

    async def recorded(data: AsyncIterator[bytes], context: Any) -> None:
        with _Recording(details, context, later):
            async with _aborting(context):
                await handler.stream_stream(_messages(handler, data), context)

    return recorded


def _yielded(handler: Any, details: Any, later: Later) -> Any:
    """A stream whose handler yields its responses."""

    async def recorded(data: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        with _Recording(details, context, later):
            async with _aborting(context):
                async for response in handler.stream_stream(_messages(handler, data), context):
                    yield response

    return recorded


async def _messages(handler: Any, data: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """What a stream's client sent. BadParameter, and not whatever gRPC makes of it, for what is no such message."""
    async for each in data:
        try:
            message = handler.request_deserializer(each)
        except DecodeError:
            raise BadParameter(MALFORMED) from None
        yield message


@asynccontextmanager
async def _aborting(context: Any) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AbortError as error:
        raise _without_frames(error) from None
    except BadParameter as error:  # of a handler that isn't ours: reflection
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _without_frames(error: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """gRPC and an aborted call's exception hold each other until the collector comes by, which after `gc.freeze` is
    seldom: through the exception's frames they would hold the request, too, half a megabyte for each refused image."""
    error.__context__ = None
    return error.with_traceback(None)


class _Recording(Recording):
    """Of a gRPC call; written when its answer has left."""

    def __init__(self, details: Any, context: Any, later: Later) -> None:
        super().__init__("grpc", details.method, partial(_identity, details), partial(later, write))
        self._context = context

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        record = self.record
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            record.status = "DEADLINE_EXCEEDED" if is_late(self._context) else "CANCELLED"
        record.status = record.status or _status(self._context)
        record.level = _level(record)
        super().__exit__(kind, error, trace)


def _identity(details: Any) -> Identity:
    """From the details' copy: the context's metadata is gRPC's memory, and this is asked for when the call is over."""
    metadata = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
    return Identity(request_id_of(metadata) or uuid.uuid4().hex, metadata)


def _status(context: Any) -> str:
    """Name of the status that `abort` set; a handler that just returned set none."""
    code = context.code()
    return str(code.name) if isinstance(code, grpc.StatusCode) else "OK"


def _level(record: RequestRecord) -> int:
    if record.status in ("OK", "CANCELLED"):
        return logging.DEBUG if record.call.startswith(QUIET) else logging.INFO
    return logging.ERROR if record.status in OUR_FAULT else logging.WARNING
