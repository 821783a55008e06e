"""Plain ASGI middleware: the limit on bodies, and the names a request travels under."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptseg_serve.errors import TooLarge
from adaptseg_serve.http.problems import oip_error_of, problem_of

LINGER_SECONDS, LINGER_BYTES = 5.0, 256 << 20
"""How long, and for how much, a refused upload is read and thrown away."""

_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class BodyLimit:
    """Refuses bodies beyond `max_bytes`: by Content-Length before anything is read, else by counting as they come."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")[:20]
        if declared.isdecimal() and int(declared) > self.max_bytes:
            await self._refuse(int(declared), scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen, started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if seen > self.max_bytes:
                raise self._error(seen)
            return message

        async def watched(message: Message) -> None:
            # An app that catches every exception would answer 500: beyond the limit only our own answer goes out.
            nonlocal started
            if started or seen <= self.max_bytes:
                started = True
                await send(message)

        with contextlib.suppress(TooLarge):
            await self.app(scope, counted, watched)
        if seen > self.max_bytes and not started:
            await self._refuse(seen, scope, receive, send)

    async def _refuse(self, nbytes: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once, but hold the connection while the client still sends.

        A socket that is closed with unread bytes is reset, and the reset overtakes the answer.
        """
        error = self._error(nbytes)
        response = oip_error_of(error) if scope["path"].startswith("/v2") else problem_of(error)
        response.headers["Connection"] = "close"

        async def unfinished(message: Message) -> None:
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        await response(scope, receive, unfinished)
        if "expect" not in Headers(scope=scope):  # Reading would tell such a client to go on.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_discard(receive), LINGER_SECONDS)
        await send({"type": "http.response.body", "body": b""})

    def _error(self, nbytes: int) -> TooLarge:
        return TooLarge(
            f"The body has {nbytes} bytes or more; at most {self.max_bytes} are accepted. "
            "Compress or scale the image, or raise ADAPTSEG_MAX_BODY_BYTES."
        )


class RequestNames:
    """Gives every answer the request's `X-Request-Id` (or a new one), and carries `traceparent` on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        names = _names(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = names["X-Request-Id"]

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(names)
            await send(message)

        await self.app(scope, receive, named)


async def _discard(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


def request_id_of(headers: Mapping[str, str]) -> str:
    """The client's own `x-request-id`; "" where it is missing or not fit for a log."""
    request_id = headers.get("x-request-id", "")
    return request_id if _REQUEST_ID.fullmatch(request_id) else ""


def _names(headers: Headers) -> dict[str, str]:
    names = {"X-Request-Id": request_id_of(headers) or uuid.uuid4().hex}
    if _TRACEPARENT.fullmatch(headers.get("traceparent", "")):
        names["traceparent"] = headers["traceparent"]
    return names
