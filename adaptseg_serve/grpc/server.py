"""The gRPC door: one grpc.aio server in the service's own event loop."""

import asyncio
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health  # type: ignore[attr-defined]  # missing from its stubs
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection import enable_server_reflection

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.grpc.observed import Observed
from adaptseg_serve.grpc.oip import InferenceService
from adaptseg_serve.grpc.parting import Parting
from adaptseg_serve.grpc.segmentation import SegmentationService
from adaptseg_serve.grpc.streams import Streams
from adaptseg_serve.grpc.stubs import inference_pb2_grpc
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.security import BearerInterceptor, Tokens, server_credentials
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

SERVICES = ("inference.GRPCInferenceService", "adaptseg.v1.SegmentationService")
MAX_CALLS = 128
"""Concurrent calls of one connection beside its streams; more wait in the client."""


HEALTH_EVERY = 1.0
"""Seconds between looks at the device: what breaks it, or mends it, calls nobody."""


class GrpcServer:
    """Open Inference Protocol, the project's own service, health and reflection on one port."""

    def __init__(self, segmenter: Segmenter, settings: Settings) -> None:
        self._segmenter = segmenter
        self._address = _address(settings.grpc_host, settings.grpc_port)
        self._options = _options(settings)
        tokens = (BearerInterceptor(Tokens(Path(settings.tokens_file))),) if settings.tokens_file else ()
        self._observed = Observed(segmenter.metrics.later)
        self._interceptors = (self._observed, *tokens, Parting())
        self._credentials = server_credentials(settings)
        self._streams = Streams(settings.max_streams, segmenter.metrics)
        self._health = health.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._goodbye: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and serve. Raises ConfigError where the port is taken."""
        server = grpc.aio.server(options=self._options, interceptors=self._interceptors)
        oip = InferenceService(self._segmenter, self._streams)
        own = SegmentationService(self._segmenter, self._streams)
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(oip, server)
        segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(own, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        enable_server_reflection((*SERVICES, HEALTH, REFLECTION), server)
        await self._announce()
        if problem := _bind(server, self._address, self._credentials):
            await server.stop(None)
            del server  # Its __del__ needs the running loop, and the traceback would keep it beyond that.
            raise ConfigError(problem)
        await server.start()
        self._server = server
        self._following = asyncio.create_task(self._follow())
        self._segmenter.on_drain.append(self.enter_drain)

    def enter_drain(self) -> None:
        """Health says NOT_SERVING at once and for good, to those who ask and those who watch."""
        self._goodbye = self._goodbye or asyncio.create_task(self._health.enter_graceful_shutdown())

    async def stop(self, grace: float) -> None:
        """Take no more calls, finish those at work, and cancel what is left after `grace` seconds."""
        self.enter_drain()
        if self._following is not None:
            self._following.cancel()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
        self._segmenter.metrics.flush()

    async def _follow(self) -> None:
        """Health says NOT_SERVING of a device that is broken, and SERVING once it answers again."""
        while True:
            await asyncio.sleep(HEALTH_EVERY)
            await self._announce()

    async def _announce(self) -> None:
        status = HealthCheckResponse.SERVING if self._segmenter.ready else HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self._health.set(name, status)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """What stands in the way, or ""."""
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError as error:
        return (
            f"The gRPC door can't open on {address} ({error}). Stop what is there, or set ADAPTSEG_GRPC_HOST "
            "and ADAPTSEG_GRPC_PORT to an address and port of this machine that are free."
        )
    return ""


def _options(settings: Settings) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", MAX_CALLS + settings.max_streams),
        # Workers share the port, and the kernel deals out connections. One alone must not: a clash would go unseen.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # A client that vanished without a word is noticed in 80 s; clients may ping every 10 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if settings.grpc_connection_age:  # Calls and streams that are open then go on for as long as they take.
        options.append(("grpc.max_connection_age_ms", round(1000 * settings.grpc_connection_age)))
    return options
