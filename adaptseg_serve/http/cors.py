"""Cross-origin requests: what a page from an allowed origin may send, and which headers of the answer it may read."""

from typing import Any

from starlette.middleware.cors import CORSMiddleware

from adaptseg_serve.http.oip_body import HEADER_LENGTH
from adaptseg_serve.origins import Origins

SENT = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    HEADER_LENGTH,
    "X-Request-Id",
    "X-Request-Timeout-Ms",
    "traceparent",
    "tracestate",
)
READ = (
    "Retry-After",
    "Server-Timing",
    HEADER_LENGTH,
    "X-Class-Shares",
    "X-Label-Map-Dtype",
    "X-Label-Map-Height",
    "X-Label-Map-Width",
    "X-Model-Version",
    "X-Planes",
    "X-Request-Id",
    "traceparent",
)
MAX_AGE = 600
"""Seconds for which a browser remembers a preflight's answer."""

Cors = CORSMiddleware


def cors_options(origins: Origins) -> dict[str, Any]:
    """The middleware's options. Cookies are never allowed: the service has none; tokens go in Authorization."""
    return {
        "allow_origins": origins.each,
        "allow_methods": ["GET", "POST"],
        "allow_headers": SENT,
        "expose_headers": READ,
        "max_age": MAX_AGE,
    }
