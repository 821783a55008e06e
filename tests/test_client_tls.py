"""The client over TLS, with a certificate of its own and with a token, against servers that insist on them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
import uvicorn
from helpers.certificates import Pair, authority, signed
from helpers.doors import PacedPredictor, until
from helpers.serving import free_port

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.client import Answer, AsyncSegmentationClient, Credentials, Retry, SegmentationClient
from adaptseg_serve.client.answers import Dropped
from adaptseg_serve.errors import AdaptSegError, ConfigError
from adaptseg_serve.grpc.parting import Parting
from adaptseg_serve.grpc.segmentation import SegmentationService
from adaptseg_serve.grpc.streams import Streams
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.http.app import create_app
from adaptseg_serve.segmenter import Segmenter

IMAGE = np.full((20, 30, 3), 7, np.uint8)
PNG = cv2.imencode(".png", IMAGE)[1].tobytes()
TOKEN = "a secret"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = authority(folder), authority(folder, "stranger")
    return {
        "ca": ours,
        "server": signed(folder, "server", ours),
        "client": signed(folder, "client", ours),
        "stranger": signed(folder, "stranger-client", others),
        "stranger-ca": others,
    }


@asynccontextmanager
async def https_door(segmenter: Segmenter, certificates: dict[str, Pair], seen: list[str]) -> AsyncIterator[str]:
    app = create_app(segmenter)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        await app(scope, receive, send)

    port, server = free_port(), certificates["server"]
    config = uvicorn.Config(
        watched,
        port=port,
        log_level="error",
        ssl_certfile=server.certificate,
        ssl_keyfile=server.key,
        ssl_ca_certs=str(certificates["ca"].certificate),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    await until(lambda: running.started)
    yield f"https://127.0.0.1:{port}"
    running.should_exit = True
    await task


@asynccontextmanager
async def grpcs_door(segmenter: Segmenter, certificates: dict[str, Pair], seen: list[str]) -> AsyncIterator[str]:
    class Watch(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            seen.append(dict(details.invocation_metadata).get("authorization", ""))
            return await continuation(details)

    server, pair = grpc.aio.server(interceptors=[Watch(), Parting()]), certificates["server"]
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(
        SegmentationService(segmenter, Streams(8, segmenter.metrics)), server
    )
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), pair.certificate.read_bytes())], certificates["ca"].certificate.read_bytes(), True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"grpcs://127.0.0.1:{port}"
    await server.stop(0)


DOORS = {"https": https_door, "grpcs": grpcs_door}


def at(door: str, bundle: Path, certificates: dict[str, Pair], ask: Callable[[str], Awaitable[None]]) -> list[str]:
    """Run `ask` with the address of an open door; the Authorization of each request that got through."""
    seen: list[str] = []

    async def run() -> None:
        segmenter = Segmenter(open_bundle(bundle), predictor=PacedPredictor())
        await segmenter.start()
        async with DOORS[door](segmenter, certificates, seen) as url:
            await ask(url)
        await segmenter.close()

    asyncio.run(run())
    return seen


def who(certificates: dict[str, Pair], client: str = "client", ca: str = "ca") -> Credentials:
    own = certificates[client]
    return Credentials(certificates[ca].certificate, own.certificate, own.key, TOKEN)


@pytest.mark.parametrize("door", ["https", "grpcs"])
def test_both_clients_are_let_in_and_bring_their_token(
    door: str, tiny_bundle: Path, certificates: dict[str, Pair]
) -> None:
    async def ask(url: str) -> None:
        async with AsyncSegmentationClient(url, credentials=who(certificates)) as client:
            assert (await client.segment(PNG)).label_map.shape == (20, 30)

        def synchronous() -> Answer:
            with SegmentationClient(url, credentials=who(certificates)) as client:
                return client.segment(IMAGE)

        assert (await asyncio.to_thread(synchronous)).label_map.shape == (20, 30)

    assert at(door, tiny_bundle, certificates, ask) == [f"Bearer {TOKEN}"] * 2


def test_streams_bring_the_token_too(tiny_bundle: Path, certificates: dict[str, Pair]) -> None:
    async def frames() -> AsyncIterator[np.ndarray]:
        yield IMAGE

    async def ask(url: str) -> None:
        async with AsyncSegmentationClient(url, credentials=who(certificates)) as client:
            assert [type(answer) async for answer in client.stream(frames())] == [Answer]

        def synchronous() -> list[Answer | Dropped]:
            with SegmentationClient(url, credentials=who(certificates)) as client:
                return list(client.stream([IMAGE]))

        assert len(await asyncio.to_thread(synchronous)) == 1

    assert at("grpcs", tiny_bundle, certificates, ask) == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize("door", ["https", "grpcs"])
@pytest.mark.parametrize(("client", "ca"), [("stranger", "ca"), ("client", "stranger-ca")])
def test_strangers_on_either_side_are_an_error(
    door: str, client: str, ca: str, tiny_bundle: Path, certificates: dict[str, Pair]
) -> None:
    async def ask(url: str) -> None:
        credentials = who(certificates, client, ca)
        async with AsyncSegmentationClient(url, retry=Retry(attempts=1), credentials=credentials) as one:
            with pytest.raises(AdaptSegError):
                await one.segment(PNG, timeout=5)

    assert at(door, tiny_bundle, certificates, ask) == []


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Credentials(token=TOKEN))


def test_a_certificate_needs_its_key(certificates: dict[str, Pair]) -> None:
    with pytest.raises(ConfigError, match="go together"):
        Credentials(certificate=certificates["client"].certificate)


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_a_missing_file_is_named(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.pem"):
        SegmentationClient(f"{scheme}://127.0.0.1:1", credentials=Credentials(ca=tmp_path / "nothing.pem"))
