"""What became of one request: gathered while it is answered, then written as one log line and one trace.

A door opens the record. Whoever works for the request finds it by `current()`, also in tasks started on its behalf,
since a task inherits its context. It holds counts, sizes and durations: never pixels, never a file's bytes.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from opentelemetry.trace import Span

from adaptseg_serve import tracing

Door = Literal["http", "grpc"]

log = logging.getLogger(__name__)

_current: ContextVar["RequestRecord | None"] = ContextVar("adaptseg_request", default=None)


@dataclass
class RequestRecord:
    """One request. Whoever learns something of it sets the field; durations are seconds."""

    protocol: Door
    call: str
    """What was asked: "POST /v1/segment", or the gRPC method's full name."""
    request_id: str
    span: Span
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    """Sum of each stage over the request's images."""
    images: int = 0
    image_size: tuple[int, int] | None = None
    """(height, width) of the last image."""
    bytes_in: int = 0
    bytes_out: int = 0
    status: int | str = ""
    """HTTP status, or name of the gRPC status."""
    reason: str = ""
    """`name` of the RequestError; "" where there was none."""
    level: int = logging.INFO
    seconds: float = 0.0
    """From the beginning to the answer; 0 before that."""
    ended: float = 0.0
    """When the answer was there, in time.time() seconds."""

    def image(self, size: tuple[int, int]) -> None:
        self.images += 1
        self.image_size = size

    def stage(self, name: str, seconds: float, ago: float) -> None:
        """A stage that took `seconds` and ended `ago` seconds before now."""
        self.stages[name] = self.stages.get(name, 0.0) + seconds
        if self.span.is_recording():
            tracing.add_stage(self.span, name, seconds, ago)

    def identity(self) -> dict[str, Any]:
        """Its ids; what is empty is left out."""
        trace_id = self.span.get_span_context().trace_id
        values = {"request_id": self.request_id, "trace_id": f"{trace_id:032x}" if trace_id else ""}
        return {name: value for name, value in values.items() if value}

    def fields(self) -> dict[str, Any]:
        """JSON values, for the log; what is empty is left out."""
        values = {
            **self.identity(),
            "protocol": self.protocol,
            "call": self.call,
            "status": self.status,
            "reason": self.reason,
            "seconds": round(self.seconds, 6),
            "stages": {name: round(seconds, 6) for name, seconds in self.stages.items()},
            "images": self.images,
            "image_size": list(self.image_size or ()),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }
        return {name: value for name, value in values.items() if value not in ("", 0, [], {})}


def current() -> RequestRecord | None:
    """The record of the request that this task works for; None where it works for none."""
    return _current.get()


def refused(reason: str) -> None:
    """The request that this task works for is refused: `reason` is the `name` of the RequestError."""
    if (record := current()) is not None:
        record.reason = reason


def write(record: RequestRecord) -> None:
    """The log line and the trace's end of a record that is finished."""
    if log.isEnabledFor(record.level):
        message, said = "%s %s", (record.call, record.status)
        # Not log.log: it would look for its caller, and the line's time is the answer's, not the writing's.
        line = log.makeRecord(
            log.name, record.level, __file__, 0, message, said, None, extra={"request": record.fields()}
        )
        line.created = record.ended
        log.handle(line)
    if record.span.is_recording():
        tracing.end(record.span, record.protocol, record.status, record.reason, record.ended)


@contextlib.contextmanager
def recording(
    protocol: Door,
    call: str,
    request_id: str,
    headers: Mapping[str, str],
    write: Callable[[RequestRecord], object] = write,
) -> Iterator[RequestRecord]:
    """Record the request that the block answers; `headers` (lower case) may carry a traceparent.

    write: gets the finished record, at once; where the answer leaves after the block, it should see to it `Later`.
    """
    record = RequestRecord(protocol, call, request_id, tracing.begin(call, headers))
    token = _current.set(record)
    try:
        yield record
    finally:
        # A generator that is abandoned is closed in another context, where the token means nothing.
        with contextlib.suppress(ValueError):
            _current.reset(token)
        record.seconds, record.ended = time.monotonic() - record.started, time.time()
        write(record)
