"""Plain ASGI middleware: the limits on bodies, and the names a request travels under."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptseg_serve.errors import Busy, DeadlineExceeded, RequestError, TooLarge
from adaptseg_serve.http.problems import refusal_of

LINGER_SECONDS, LINGER_BYTES = 5.0, 256 << 20
"""How long, and for how much, a refused upload is read and thrown away."""

_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class BodyLimit:
    """Refuses bodies beyond `max_bytes`: by Content-Length before anything is read, else by counting as they come.

    Also a body that has not come after `timeout` seconds, and one for which there is no room: requests under way
    hold at most `max_held` bytes of bodies together.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_held: int, timeout: float) -> None:
        self.app = app
        self.max_bytes, self.max_held, self.timeout = max_bytes, max(max_bytes, max_held), timeout
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")[:20]
        if declared.isdecimal() and int(declared) > self.max_bytes:
            await _refuse(self._too_large(int(declared)), scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen, whole, started = 0, False, False
        refusal: RequestError | None = None
        latest = asyncio.get_running_loop().time() + self.timeout

        async def counted() -> Message:
            nonlocal seen, whole, refusal
            if refusal is not None:
                raise refusal
            try:
                async with asyncio.timeout_at(None if whole else latest):
                    message = await receive()
            except TimeoutError:
                refusal = DeadlineExceeded(f"The body had not come after {self.timeout:g} s. Send it faster, or less.")
                raise refusal from None
            if message["type"] == "http.request":
                nbytes = len(message.get("body", b""))
                seen, self._held, whole = seen + nbytes, self._held + nbytes, not message.get("more_body")
            refusal = self._check(seen)
            if refusal is not None:
                raise refusal
            return message

        async def watched(message: Message) -> None:
            # An app that catches every exception would answer 500: once refused, only our own answer goes out.
            nonlocal started
            if started or refusal is None:
                started = True
                await send(message)

        try:
            with contextlib.suppress(RequestError):
                await self.app(scope, counted, watched)
        finally:
            self._held -= seen
        if refusal is not None and not started:
            await _refuse(refusal, scope, receive, send)

    def _check(self, seen: int) -> RequestError | None:
        if seen > self.max_bytes:
            return self._too_large(seen)
        if self._held > self.max_held:
            return Busy(
                f"Requests under way hold {self.max_held} bytes of bodies, and no more have room. Try again after the "
                "time in Retry-After, or raise ADAPTSEG_MAX_HELD_BYTES."
            )
        return None

    def _too_large(self, nbytes: int) -> TooLarge:
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


async def _refuse(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, but hold the connection while the client still sends.

    A socket that is closed with unread bytes is reset, and the reset overtakes the answer.
    """
    response = refusal_of(error, scope["path"])
    response.headers["Connection"] = "close"

    async def unfinished(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, unfinished)
    if "expect" not in Headers(scope=scope):  # Reading would tell such a client to go on.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_discard(receive), LINGER_SECONDS)
    await send({"type": "http.response.body", "body": b""})


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
