"""Plain ASGI middleware: a large answer leaves in pieces, and one that nobody reads is given up.

Handed over whole, it would lie in the connection's buffer for as long as the client likes: uvicorn waits for room
before it writes, not after it.
"""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE_BYTES = 1 << 20
"""Smaller answers leave at once; one of 512 x 1024 as raw train ids has half."""

log = logging.getLogger(__name__)


class AnswerPace:
    """Gives each piece of an answer `timeout` seconds to find room in the connection's buffer."""

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self.app, self.timeout = app, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given_up = False

        async def paced(message: Message) -> None:
            nonlocal given_up
            body = message.get("body", b"")
            if given_up:
                return
            if len(body) <= PIECE_BYTES:
                await send(message)
                return
            try:
                await self._send_in_pieces(message, body, send)
            except TimeoutError:  # The app ends without its answer's end, and uvicorn closes the connection.
                given_up = True
                log.warning("An answer of %d bytes is given up: nobody read it for %g s.", len(body), self.timeout)

        await self.app(scope, receive, paced if scope["type"] == "http" else send)

    async def _send_in_pieces(self, message: Message, body: bytes, send: Send) -> None:
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = end < len(body) or message.get("more_body", False)
            async with asyncio.timeout(self.timeout):
                await send({**message, "body": body[start:end], "more_body": more})
