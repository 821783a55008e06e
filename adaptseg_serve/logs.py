"""The service's log: one line a request, and what else happens. Text for people or JSON for machines."""

import datetime
import json
import logging
import sys
from typing import Any

from adaptseg_serve.record import current

OTHERS = ("", "bentoml", "uvicorn.error")
"""Loggers beside ours whose lines go to the same place, in the same format."""


def configure(log_format: str, level: str) -> None:
    """Write log lines to standard output as "json" or "text", from `level` ("info") upwards."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    ours = logging.getLogger("adaptseg_serve")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level.upper())
    for name in OTHERS:
        for other in logging.getLogger(name).handlers:
            other.setFormatter(handler.formatter)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message; a request's fields; a traceback as `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(getattr(record, "request", None) or _asked_by()),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # ASCII: whatever a client put into a path or an id can't break a line or a terminal.
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`time LEVEL logger message key=value ...`"""

    def format(self, record: logging.LogRecord) -> str:
        own: dict[str, Any] = getattr(record, "request", {})
        request = own or _asked_by()
        shown = {name: value for name, value in request.items() if name not in ("call", "status", "protocol")}
        pairs = "".join(f" {name}={json.dumps(value)}" for name, value in shown.items())
        message = record.getMessage().encode("unicode_escape").decode("ascii") if own else record.getMessage()
        line = f"{_utc(record)} {record.levelname} {record.name} {message}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _asked_by() -> dict[str, Any]:
    """Which request a line is about that is no request's own: a traceback finds the client that met it."""
    return {} if (request := current()) is None else request.ids()


def _utc(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
