"""OpenTelemetry spans of both doors, as an exporter receives them."""

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import grpc
import httpx
import numpy as np
import pytest
from helpers.doors import PacedPredictor, grpc_door
from helpers.serving import serving
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.http.app import create_app
from adaptseg_serve.http.middleware import RequestNames
from adaptseg_serve.http.observed import Observed
from adaptseg_serve.segmenter import Segmenter

PNG = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
STAGES = ["decode", "queue", "infer", "encode"]


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """The process's one provider; OpenTelemetry lets it be set only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def ask_http(bundle: Path, content: bytes, **headers: str) -> int:
    async def ask() -> int:
        segmenter = Segmenter(open_bundle(bundle), predictor=PacedPredictor(0.05))
        await segmenter.start()
        transport = httpx.ASGITransport(RequestNames(Observed(create_app(segmenter))))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/v1/segment", content=content, headers=headers)
        await segmenter.close()
        return answer.status_code

    return asyncio.run(ask())


def ask_grpc(bundle: Path, content: bytes, **metadata: str) -> grpc.StatusCode:
    async def ask() -> grpc.StatusCode:
        async with grpc_door(bundle, PacedPredictor(0.05)) as door:
            stub = segmentation_pb2_grpc.SegmentationServiceStub(door.channel)
            request = pb.SegmentRequest(image=pb.Image(encoded=content))
            call = stub.Segment(request, metadata=tuple(metadata.items()))
            return grpc.StatusCode(await call.code())

    return asyncio.run(ask())


ASK = {"http": ask_http, "grpc": ask_grpc}
CALLS = {"http": "POST /v1/segment", "grpc": "/adaptseg.v1.SegmentationService/Segment"}


def split(spans: InMemorySpanExporter, call: str) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The request's span, and its stages by their start."""
    finished = spans.get_finished_spans()
    (server,) = [span for span in finished if span.name == call]
    return server, sorted((s for s in finished if s is not server), key=lambda s: s.start_time or 0)


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_request_is_a_span_with_a_child_for_each_stage(
    spans: InMemorySpanExporter, tiny_bundle: Path, door: str
) -> None:
    ASK[door](tiny_bundle, PNG, traceparent=TRACEPARENT)
    server, stages = split(spans, CALLS[door])
    assert server.kind == trace.SpanKind.SERVER
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT_ID
    assert server.context is not None
    assert f"{server.context.trace_id:032x}" == TRACE_ID
    assert [stage.name for stage in stages] == STAGES
    for stage in stages:
        assert stage.parent is not None
        assert stage.parent.span_id == server.context.span_id
        assert server.start_time <= stage.start_time <= stage.end_time <= server.end_time  # type: ignore[operator]
    infer = stages[2]
    assert infer.end_time - infer.start_time >= 0.05 * 1e9  # type: ignore[operator]


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_what_a_client_got_wrong_is_named_and_no_error_of_the_server(
    spans: InMemorySpanExporter, tiny_bundle: Path, door: str
) -> None:
    ASK[door](tiny_bundle, b"GIF89a")
    server, stages = split(spans, CALLS[door])
    assert stages == []
    assert server.parent is None
    assert server.attributes is not None
    assert server.attributes["error.type"] == "unsupported-type"
    assert server.status.status_code == trace.StatusCode.UNSET


@pytest.mark.parametrize("traceparent", ["", "00-zz-1-1", TRACEPARENT * 50, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_strange_traceparent_starts_a_trace_of_its_own(
    spans: InMemorySpanExporter, tiny_bundle: Path, traceparent: str
) -> None:
    assert ask_http(tiny_bundle, PNG, traceparent=traceparent) == 200
    assert split(spans, CALLS["http"])[0].parent is None


def test_images_of_one_batch_stay_in_their_own_traces(spans: InMemorySpanExporter, tiny_bundle: Path) -> None:
    """The batcher runs them together; nobody's stages may end up under a neighbour's request."""

    async def ask() -> None:
        async with grpc_door(tiny_bundle, PacedPredictor(0.1)) as door:
            stub = segmentation_pb2_grpc.SegmentationServiceStub(door.channel)
            request = pb.SegmentRequest(image=pb.Image(encoded=PNG))
            await asyncio.gather(*(stub.Segment(request) for _ in range(6)))

    asyncio.run(ask())
    finished = spans.get_finished_spans()
    servers = [s for s in finished if s.kind == trace.SpanKind.SERVER]
    assert len(servers) == 6
    for server in servers:
        assert server.context is not None
        mine = [s.name for s in finished if s.parent is not None and s.parent.span_id == server.context.span_id]
        assert sorted(mine) == sorted(STAGES)


def test_a_missing_exporter_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
        "from adaptseg_serve import tracing\n"
        "try:\n    tracing.start('otlp')\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError ADAPTSEG_TRACES=otlp needs")
    assert "pip install" in done.stdout


@contextmanager
def collector() -> Iterator[tuple[str, list[str]]]:
    """What an OpenTelemetry collector is to the service: its address, and the names of the spans that came."""
    names: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            received = ExportTraceServiceRequest.FromString(plain)
            for resource in received.resource_spans:
                names.extend(span.name for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", names
        http.shutdown()
        thread.join()


def test_a_real_server_sends_its_spans_to_a_collector_before_it_ends(tiny_bundle: Path, tmp_path: Path) -> None:
    with collector() as (endpoint, names):
        environ = {"ADAPTSEG_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "ADAPTSEG_DRAIN_NOTICE": "0"}
        with serving(tiny_bundle, tmp_path, **environ) as server:
            assert httpx.post(f"{server.http_url}/v1/segment", content=PNG).status_code == 200
        assert {CALLS["http"], *STAGES} <= set(names)
