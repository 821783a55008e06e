"""OpenTelemetry: one server span a request, one child span for each of its stages. Off unless it is asked for.

ADAPTSEG_TRACES=otlp sends spans to where OpenTelemetry's own OTEL_EXPORTER_OTLP_ENDPOINT says (also OTEL_SERVICE_NAME,
OTEL_TRACES_SAMPLER ...); "console" prints them. A tracer provider that is already set (opentelemetry-instrument) is
used as it is. Without any, spans record nothing and only carry a client's trace id into the log.
"""

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from adaptseg_serve._version import __version__
from adaptseg_serve.errors import ConfigError

SERVICE_NAME = "adaptseg-serve"

_TRACER = trace.get_tracer("adaptseg_serve", __version__)
_W3C = TraceContextTextMapPropagator()


def start(traces: str) -> TracerProvider | None:
    """Send spans to `traces`: "otlp" or "console"; None for "none". Raises ConfigError where the exporter is missing.

    Call `shutdown` of what it returns when the service stops, so that the last spans leave.
    """
    if traces == "none":
        return None
    provider = TracerProvider(resource=Resource({"service.name": SERVICE_NAME}).merge(Resource.create()))
    provider.add_span_processor(BatchSpanProcessor(_exporter(traces)))
    trace.set_tracer_provider(provider)
    return provider


def check(traces: str) -> None:
    """Raise ConfigError where `start` would."""
    if traces == "otlp":
        _otlp()


def is_on() -> bool:
    """May a span be recorded? Without a provider none is, and a request need not have one before it is logged."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def begin(call: str, headers: Mapping[str, str], started: float) -> Span:
    """The request's span; a child of the client's where `headers` hold a traceparent. Times are time.time() seconds."""
    context = _W3C.extract(headers) if "traceparent" in headers else Context()
    return _TRACER.start_span(call, context=context, kind=SpanKind.SERVER, start_time=_ns(started))


def add_stage(parent: Span, name: str, seconds: float, ended: float) -> None:
    """A child span that lasted `seconds`."""
    child = _TRACER.start_span(name, trace.set_span_in_context(parent), start_time=_ns(ended - seconds))
    child.end(_ns(ended))


def end(span: Span, protocol: str, status: int | str, reason: str, ended: float) -> None:
    """End the request's span with what came of it; a server's own failure marks it as an error."""
    span.set_attribute("rpc.system" if protocol == "grpc" else "network.protocol.name", protocol)
    span.set_attribute("rpc.response.status_code" if protocol == "grpc" else "http.response.status_code", status)
    if reason:
        span.set_attribute("error.type", reason)
    if status == "INTERNAL" or (isinstance(status, int) and status >= 500):
        span.set_status(Status(StatusCode.ERROR))
    span.end(_ns(ended))


def _ns(moment: float) -> int:
    return round(moment * 1e9)


def _exporter(traces: str) -> SpanExporter:
    return ConsoleSpanExporter() if traces == "console" else _otlp()()


def _otlp() -> type[SpanExporter]:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError(
            "ADAPTSEG_TRACES=otlp needs OpenTelemetry's exporter, which is not installed. "
            "Install it: in the checkout, pip install -c constraints.txt '.[otlp]'; or unset ADAPTSEG_TRACES."
        ) from None
    return OTLPSpanExporter
