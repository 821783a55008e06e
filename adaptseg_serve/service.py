"""The BentoML shell: `bentoml serve adaptseg_serve.service:SegmentationService`.

Thin on purpose: processes, health, packaging and the OpenAPI document are BentoML's; everything else is the
segmenter's and the doors'. The parent process imports this module too, so nothing heavy happens at its top level.
"""

# The first import readies the process, hence by hand and not in alphabetical order.
from adaptseg_serve.process import SETTINGS  # isort: skip

import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import bentoml
import click
import yaml
from bentoml import IODescriptor
from bentoml.validators import ContentType
from opentelemetry.sdk.trace import TracerProvider
from starlette.requests import Request
from starlette.responses import Response

from adaptseg_serve import logs, tracing
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.devices import pin
from adaptseg_serve.drain import Door, Drain
from adaptseg_serve.errors import AdaptSegError
from adaptseg_serve.hotswap import BundleWatch
from adaptseg_serve.http.app import create_app
from adaptseg_serve.http.cors import Cors, cors_options
from adaptseg_serve.http.middleware import BodyLimit, RequestNames
from adaptseg_serve.http.observed import Observed
from adaptseg_serve.http.pace import AnswerPace
from adaptseg_serve.http.parameters import MAX_TIMEOUT_MS, Ids, Render
from adaptseg_serve.http.segment import answer
from adaptseg_serve.metrics import Metrics
from adaptseg_serve.ports import check_ports
from adaptseg_serve.security import BearerAuth, Tokens, check_tls, http_tls
from adaptseg_serve.segmentation import WantedSize
from adaptseg_serve.segmenter import Segmenter

APP = create_app()


class NoTimeout(float):
    """Seconds that BentoML takes as above 0, which it insists on, and yet as "no timeout"."""

    def __bool__(self) -> bool:
        return False


yaml.SafeDumper.add_representer(NoTimeout, yaml.SafeDumper.represent_float)  # `bentoml build` writes the settings down.


class SegmentInput(IODescriptor):
    """The twin's form, for the OpenAPI document and BentoML's client.

    The request itself is handed on unread in `image`: BentoML would fetch a text in a file field as an address,
    spool files to disk, and answer 500 for what a client got wrong.
    """

    image: Annotated[Path, ContentType("image/*")]
    ids: Ids = "train"
    render: Render = "labels"
    size: WantedSize = "input"

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> IODescriptor:
        return cls.model_construct(image=request)


@bentoml.service(
    name="adaptseg",
    workers=SETTINGS.workers,
    http={"host": SETTINGS.http_host, "port": SETTINGS.http_port},
    ssl=http_tls(SETTINGS),
    # Deadlines and their 504 are the segmenter's; BentoML's 504 would not be a problem+json, and its timer keeps 5 KB
    # of every request until it has run out, answered or not: at 100 requests a second and the longest deadline, 1.8 GB.
    # A BentoML that should count it all the same comes after the longest deadline.
    traffic={"timeout": NoTimeout(MAX_TIMEOUT_MS / 1000 + 5)},
    # BentoML's metrics have a series for every path a stranger asks for; /metrics is our own route.
    metrics={"enabled": False},
    # Our own log has a line for each request, of both doors.
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(APP, path="/")
class SegmentationService:
    """Label maps of road images."""

    segmenter: Segmenter
    drain: Drain
    watch: BundleWatch
    traces: TracerProvider | None

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """In the parent, before any worker starts: what can't work is said once, in one sentence."""
        try:
            check_tls(SETTINGS)
            tracing.check(SETTINGS.traces)
            if SETTINGS.tokens_file:
                Tokens(Path(SETTINGS.tokens_file))
            open_bundle(SETTINGS.bundle)
            check_ports(_http_address(), (SETTINGS.grpc_host, SETTINGS.grpc_port))
        except AdaptSegError as error:
            sys.exit(f"adaptseg-serve: {error}")

    @bentoml.on_startup
    async def start(self) -> None:
        try:
            await self._start()
        except AdaptSegError as error:
            # What `check` could not see. An exception here would become four pages of tracebacks.
            print(f"adaptseg-serve: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    async def _start(self) -> None:
        from prometheus_client import REGISTRY

        logs.configure(SETTINGS.log_format, SETTINGS.log_level)
        pin(bentoml.server_context.worker_index or 1, SETTINGS.workers)
        self.traces = tracing.start(SETTINGS.traces)
        bundle = open_bundle(SETTINGS.bundle)
        self.segmenter = Segmenter(bundle, SETTINGS, metrics=Metrics(REGISTRY))
        await self.segmenter.start()
        doors = _doors(self.segmenter)
        for door in doors:
            await door.start()
        self.drain = Drain(self.segmenter, doors)
        self.drain.install()
        APP.state.segmenter = self.segmenter
        self.watch = BundleWatch(self.segmenter, SETTINGS.bundle, SETTINGS.bundle_watch)
        if SETTINGS.bundle_watch:
            self.watch.start()
        # What lives now lives for ever: keep it out of every later collection (p99 at four clients 70 -> 50 ms).
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        await self.watch.stop()
        await self.drain.finish()
        await self.segmenter.close()
        if self.traces is not None:
            self.traces.shutdown()

    async def __is_alive__(self) -> bool:
        return self.segmenter.live

    async def __is_ready__(self) -> bool:
        return self.segmenter.ready

    @bentoml.api(input_spec=SegmentInput)
    async def segment(
        self, image: Any, ids: str = "train", render: str = "labels", size: str = "input"
    ) -> Annotated[Path, ContentType("image/png")]:
        """The label map of a JPEG or PNG file: an 8-bit palette PNG whose pixels are train ids.

        The same as POST /v1/segment, which also takes raw bodies and answers other formats by Accept.
        """
        response: Response = await answer(image, self.segmenter)
        return response  # type: ignore[return-value]  # BentoML passes a Response on; the annotation is its schema


_shell: Any = SegmentationService
_shell.add_asgi_middleware(RequestNames)
_shell.add_asgi_middleware(AnswerPace, timeout=SETTINGS.timeout)
_shell.add_asgi_middleware(Observed)
if SETTINGS.cors_origins:  # Before the tokens: a browser's preflight carries none.
    _shell.add_asgi_middleware(Cors, **cors_options(SETTINGS.cors_origins))
if SETTINGS.tokens_file:
    _shell.add_asgi_middleware(BearerAuth, path=Path(SETTINGS.tokens_file))
_shell.add_asgi_middleware(
    BodyLimit, max_bytes=SETTINGS.max_body_bytes, max_held=SETTINGS.max_held_bytes, timeout=SETTINGS.timeout
)


def _doors(segmenter: Segmenter) -> list[Door]:
    if not SETTINGS.grpc_port:
        return []
    from adaptseg_serve.grpc.server import GrpcServer

    return [GrpcServer(segmenter, SETTINGS)]


def _http_address() -> tuple[str, int]:
    """Where `bentoml serve` is about to listen: its own flags go before the settings."""
    context = click.get_current_context(silent=True)
    flags = context.params if context else {}
    return flags.get("host") or SETTINGS.http_host, flags.get("port") or SETTINGS.http_port
