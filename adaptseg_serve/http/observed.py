"""ASGI middleware: each HTTP request is recorded, whoever answers it. It goes inside RequestNames."""

import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptseg_serve.record import Identity, Recording, RequestRecord

QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked every few seconds by machines: logged at level debug."""
MAX_PATH = 200


class Observed:
    """Records the request, its bytes and its status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        call = f"{scope['method']} {scope['path'][:MAX_PATH]}"
        identity = Identity(scope.get("state", {}).get("request_id", ""), headers)
        with Recording("http", call, lambda: identity) as record:
            record.status = 500  # What the server makes of an exception, unless an answer comes.
            try:
                await self.app(scope, _counted(receive, record), _watched(send, record))
            finally:
                record.level = _level(record, scope["path"])


def _counted(receive: Receive, record: RequestRecord) -> Receive:
    async def counted() -> Message:
        message = await receive()
        record.bytes_in += len(message.get("body", b""))
        return message

    return counted


def _watched(send: Send, record: RequestRecord) -> Send:
    async def watched(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
        record.bytes_out += len(message.get("body", b""))
        await send(message)

    return watched


def _level(record: RequestRecord, path: str) -> int:
    status = int(record.status)
    if status < 400:
        return logging.DEBUG if path in QUIET else logging.INFO
    return logging.ERROR if status == 500 else logging.WARNING
