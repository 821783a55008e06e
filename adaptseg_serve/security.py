"""Who may ask: TLS files, and bearer tokens from a file.

Health and metrics stay open on both doors, as does the page itself: probes and scrapers have no tokens, and none of
these answers says anything about an image.
"""

import hmac
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from adaptseg_serve import record
from adaptseg_serve.errors import ConfigError, Unauthenticated
from adaptseg_serve.http.problems import refusal_of
from adaptseg_serve.settings import Settings

CLOSED = ("/v1", "/v2", "/segment")
"""HTTP paths that need a token; everything below them, too, but for health."""
OPEN = ("/v2/health",)
OPEN_METHODS = ("/grpc.health.", "/inference.GRPCInferenceService/Server")
"""gRPC methods that need none: health, and OIP's ServerLive, ServerReady and ServerMetadata."""

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

_log = logging.getLogger(__name__)


class Tokens:
    """The tokens of a file: one a line, # begins a comment. Read again when the file changes."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file can't be read or holds no token."""
        self._path = path
        self._tokens: list[bytes] = []
        self._changed = -1
        self._read()

    def check(self, authorization: str) -> None:
        """Raise Unauthenticated unless the header's value is "Bearer TOKEN" with a token of the file.

        Every token is compared, each in a time that doesn't depend on where it differs.
        """
        self._read_again()
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode()
        known = sum(hmac.compare_digest(given, one) for one in self._tokens)
        if scheme.lower() != "bearer" or not known:
            raise Unauthenticated("This service wants a token: send the header  Authorization: Bearer TOKEN.")

    def _read_again(self) -> None:
        try:
            if self._path.stat().st_mtime_ns != self._changed:
                self._read()
        except (OSError, ConfigError) as error:
            _log.error("ADAPTSEG_TOKENS_FILE can't be read again, the old tokens go on: %s", error)

    def _read(self) -> None:
        try:
            changed, text = self._path.stat().st_mtime_ns, self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"ADAPTSEG_TOKENS_FILE={str(self._path)!r} can't be read: {error}.") from None
        tokens = [line.partition("#")[0].strip().encode() for line in text.splitlines()]
        if not any(tokens):
            raise ConfigError(f"ADAPTSEG_TOKENS_FILE={str(self._path)!r} holds no token. Write one a line.")
        self._tokens, self._changed = [token for token in tokens if token], changed


class BearerAuth:
    """ASGI middleware: 401 for a request to a closed path without a token."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        """path: the tokens' file."""
        self.app, self._tokens = app, Tokens(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_closed(scope["path"]):
            try:
                self._tokens.check(Headers(scope=scope).get("authorization", ""))
            except Unauthenticated as error:
                response = refusal_of(error, scope["path"])
                response.headers["WWW-Authenticate"] = "Bearer"
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)


class BearerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """UNAUTHENTICATED for a call without a token, but for health."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith(OPEN_METHODS):
            return handler
        metadata = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
        try:
            self._tokens.check(metadata.get("authorization", ""))
        except Unauthenticated as error:
            return _refusing(handler, str(error))
        return handler


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """For the gRPC door; None without TLS. ConfigError names the variable whose file is missing or doesn't fit."""
    if not check_tls(settings):
        return None
    key, certificate = _read("tls_key", settings.tls_key), _read("tls_cert", settings.tls_cert)
    authority = _read("tls_client_ca", settings.tls_client_ca) if settings.tls_client_ca else None
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=authority is not None)


def check_tls(settings: Settings) -> bool:
    """Is TLS wanted? ConfigError where its files can't be used together."""
    if not (settings.tls_cert or settings.tls_key or settings.tls_client_ca):
        return False
    if not (settings.tls_cert and settings.tls_key):
        raise ConfigError("TLS needs both ADAPTSEG_TLS_CERT and ADAPTSEG_TLS_KEY; set the missing one, or neither.")
    for name in ("tls_cert", "tls_key", "tls_client_ca"):
        if file := getattr(settings, name):
            _read(name, file)
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.tls_client_ca or None)
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            f"ADAPTSEG_TLS_CERT={settings.tls_cert!r}, ADAPTSEG_TLS_KEY={settings.tls_key!r} and "
            f"ADAPTSEG_TLS_CLIENT_CA={settings.tls_client_ca!r} can't be used together ({error}). They must be PEM "
            "files that fit each other."
        ) from None
    return True


def http_tls(settings: Settings) -> dict[str, object]:
    """BentoML's `ssl` section for the HTTP door."""
    if not (settings.tls_cert and settings.tls_key):
        return {"enabled": False}
    section: dict[str, object] = {"enabled": True, "certfile": settings.tls_cert, "keyfile": settings.tls_key}
    if settings.tls_client_ca:
        section |= {"ca_certs": settings.tls_client_ca, "cert_reqs": int(ssl.CERT_REQUIRED)}
    return section


def _read(name: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"ADAPTSEG_{name.upper()}={file!r} can't be read: {error.strerror}.") from None


def _is_closed(path: str) -> bool:
    return any(path == p or path.startswith(f"{p}/") for p in CLOSED) and not path.startswith(OPEN)


def _refusing(handler: Any, why: str) -> Any:
    """A handler of the same kind, whichever of gRPC's four, that ends every call."""

    async def refuse(request: Any, context: Any) -> None:
        record.refused(Unauthenticated.name)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, why)

    refusing = {kind: refuse for kind in KINDS if getattr(handler, kind) is not None}
    return handler._replace(request_deserializer=bytes, **refusing)  # A stranger's message is not even parsed.
