"""What became of one request: gathered while it is answered, then written as one log line and one trace.

A door opens the record. Whoever works for the request finds it by `current()`, also in tasks started on its behalf,
since a task inherits its context. It holds counts, sizes and durations: never pixels, never a file's bytes.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Literal, NamedTuple

from opentelemetry.trace import Span

from adaptseg_serve import tracing

Door = Literal["http", "grpc"]

log = logging.getLogger(__name__)


class Identity(NamedTuple):
    """Whose request it is."""

    request_id: str
    headers: Mapping[str, str]
    """Lower case; they may carry a traceparent."""


Identify = Callable[[], Identity]

_current: ContextVar["RequestRecord | None"] = ContextVar("adaptseg_request", default=None)


class RequestRecord:
    """One request. Whoever learns something of it sets the field; durations are seconds.

    What only a log line or a trace asks for is made when it is asked for: mostly once the answer has left.
    """

    def __init__(self, protocol: Door, call: str, identify: Identify) -> None:
        self.protocol, self.call = protocol, call
        """call: what was asked: "POST /v1/segment", or the gRPC method's full name."""
        self._identify = identify
        self.started = time.monotonic()
        self.stages: dict[str, float] = {}
        """Sum of each stage over the request's images."""
        self._traced = tracing.is_on()
        self.images = 0
        self.image_size: tuple[int, int] | None = None
        """(height, width) of the last image."""
        self.bytes_in = self.bytes_out = 0
        self.status: int | str = ""
        """HTTP status, or name of the gRPC status."""
        self.reason = ""
        """`name` of the RequestError; "" where there was none."""
        self.level = logging.INFO
        self.ended = 0.0
        """When the answer was there, in time.monotonic() seconds; 0 before that."""

    @cached_property
    def identity(self) -> Identity:
        return self._identify()

    @cached_property
    def span(self) -> Span:
        """The trace's, of the whole request."""
        return tracing.begin(self.call, self.identity.headers, self.wall_time(self.started))

    @cached_property
    def _epoch(self) -> float:
        """time.time() at time.monotonic() 0: one for the whole request, so that its stages lie within it."""
        return time.time() - time.monotonic()

    def wall_time(self, moment: float) -> float:
        """`moment`, of time.monotonic(), in time.time() seconds."""
        return self._epoch + moment

    def image(self, size: tuple[int, int]) -> None:
        self.images += 1
        self.image_size = size

    def stage(self, name: str, seconds: float, ago: float) -> None:
        """A stage that took `seconds` and ended `ago` seconds before now."""
        self.stages[name] = self.stages.get(name, 0.0) + seconds
        if self._traced and self.span.is_recording():
            tracing.add_stage(self.span, name, seconds, self.wall_time(time.monotonic() - ago))

    def ids(self) -> dict[str, Any]:
        """What is empty is left out."""
        trace_id = self.span.get_span_context().trace_id
        values = {"request_id": self.identity.request_id, "trace_id": f"{trace_id:032x}" if trace_id else ""}
        return {name: value for name, value in values.items() if value}

    def fields(self) -> dict[str, Any]:
        """JSON values, for the log; what is empty is left out."""
        values = {
            **self.ids(),
            "protocol": self.protocol,
            "call": self.call,
            "status": self.status,
            "reason": self.reason,
            "seconds": round(self.ended - self.started, 6),
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
    ended = record.wall_time(record.ended)
    if log.isEnabledFor(record.level):
        message, said = "%s %s", (record.call, record.status)
        # Not log.log: it would look for its caller, and the line's time is the answer's, not the writing's.
        line = log.makeRecord(
            log.name, record.level, __file__, 0, message, said, None, extra={"request": record.fields()}
        )
        line.created = ended
        log.handle(line)
    if record.span.is_recording():
        tracing.end(record.span, record.protocol, record.status, record.reason, ended)


class Recording:
    """Records the request that the block answers. A class, not a generator: it is entered for every frame."""

    def __init__(
        self, protocol: Door, call: str, identify: Identify, write: Callable[[RequestRecord], object] = write
    ) -> None:
        """write: gets the finished record, at once; where the answer leaves after the block, it should see to it
        `Later`."""
        self.record = RequestRecord(protocol, call, identify)
        self._write = write

    def __enter__(self) -> RequestRecord:
        self._token = _current.set(self.record)
        return self.record

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        # A generator that is abandoned is closed in another context, where the token means nothing.
        with contextlib.suppress(ValueError):
            _current.reset(self._token)
        self.record.ended = time.monotonic()
        self._write(self.record)
