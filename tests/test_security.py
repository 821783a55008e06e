"""TLS, mTLS and tokens on both doors of a real server, asked by our own client, by plain ones, by the health check."""

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers.certificates import Pair, authority, signed
from helpers.serving import Server, serving

from adaptseg_serve.cli import health
from adaptseg_serve.client import Credentials, SegmentationClient
from adaptseg_serve.errors import AdaptSegError, ConfigError, Unauthenticated
from adaptseg_serve.security import BearerInterceptor, Tokens, check_tls
from adaptseg_serve.settings import Settings, variable

IMAGE = np.full((20, 30, 3), 7, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("security")


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_known_token_is_let_in_and_no_other(guarded: Server, door: str) -> None:
    url = guarded.http_url if door == "http" else f"grpc://{guarded.grpc_target}"
    for token in ("first", "second"):
        with SegmentationClient(url, credentials=Credentials(token=token)) as client:
            assert client.segment(IMAGE).label_map.shape == (20, 30)
    for token in ("", "third", "firs", "first  # car 1"):
        with (
            SegmentationClient(url, credentials=Credentials(token=token)) as client,
            pytest.raises(Unauthenticated, match="token"),
        ):
            client.segment(IMAGE)


def test_a_refusal_says_how_and_probes_need_no_token(guarded: Server) -> None:
    refused = httpx.post(f"{guarded.http_url}/v1/segment", content=b"x")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refused.json()["type"] == "urn:adaptseg:error:unauthenticated"
    assert "error" in httpx.get(f"{guarded.http_url}/v2").json()
    for path in ("/livez", "/readyz", "/metrics", "/", "/v2/health/ready"):
        assert guarded.get(path) == 200, path
    for path in ("/v1/labels", "/v1/models", "/v2/models/tiny"):
        assert guarded.get(path) == 401, path
    assert httpx.post(f"{guarded.http_url}/segment", files={"image": b"x"}).status_code == 401
    with grpc.insecure_channel(guarded.grpc_target) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_every_kind_of_call_is_refused_without_a_token(kind: str, tmp_path: Path) -> None:
    """Our services have two of the four kinds today; a call of another must not slip through."""
    (tmp_path / "tokens").write_text("secret\n")
    reached: list[object] = []

    async def secret(request: object, context: object) -> bytes:
        reached.append(request)
        return b""

    def parse(data: bytes) -> bytes:
        """Costly, for all that the service knows of strangers' messages."""
        reached.append(data)
        return data

    async def ask() -> grpc.StatusCode:
        handler = getattr(grpc, f"{kind}_rpc_method_handler")(secret, request_deserializer=parse)
        server = grpc.aio.server(interceptors=[BearerInterceptor(Tokens(tmp_path / "tokens"))])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("made.up", {"Call": handler})])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = getattr(channel, kind)("/made.up/Call")(iter([b""]) if kind.startswith("stream") else b"")
            code: grpc.StatusCode = await call.code()
        await server.stop(None)
        return code

    assert asyncio.run(ask()) == grpc.StatusCode.UNAUTHENTICATED
    assert not reached


def test_tokens_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n")
    tokens = Tokens(file)
    tokens.check("Bearer old")
    file.write_text("newer\n")
    tokens._changed -= 1  # as if the clock had ticked between the two writes
    tokens.check("bearer newer")
    with pytest.raises(Unauthenticated):
        tokens.check("Bearer old")
    file.unlink()
    tokens.check("Bearer newer")


@pytest.fixture(scope="module")
def certificates(folder: Path) -> dict[str, Pair]:
    ours, others = authority(folder), authority(folder, "stranger")
    return {
        "ca": ours,
        "server": signed(folder, "server", ours),
        "client": signed(folder, "client", ours),
        "stranger": signed(folder, "stranger-client", others),
    }


def _door(server: Server, door: str) -> str:
    return server.http_url.replace("http:", "https:") if door == "http" else f"grpcs://{server.grpc_target}"


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_both_doors_speak_tls_and_know_their_clients(
    tiny_bundle: Path,
    tmp_path: Path,
    certificates: dict[str, Pair],
    mutual: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container's health check knows them by the server's own certificate: a mere connection is not enough."""
    monkeypatch.setattr(health, "_listens", lambda address: False)
    ca, pair = certificates["ca"].certificate, certificates["server"]
    settings = Settings(tls_cert=str(pair.certificate), tls_key=str(pair.key), tls_client_ca=str(ca) if mutual else "")
    environ = {variable(name): getattr(settings, name) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    own, strange = certificates["client"], certificates["stranger"]
    known = Credentials(ca, own.certificate, own.key) if mutual else Credentials(ca)
    with serving(tiny_bundle, tmp_path, credentials=known, **environ) as server:
        settings = replace(settings, http_port=int(server.http_url.rpartition(":")[2]))
        assert health.what_is_wrong(settings) == ""
        for door in ("http", "grpc"):
            with SegmentationClient(_door(server, door), credentials=known) as client:
                assert client.segment(IMAGE).label_map.shape == (20, 30)
            unknown = (Credentials(ca), Credentials(ca, strange.certificate, strange.key)) if mutual else ()
            for nobody in unknown:
                with (
                    SegmentationClient(_door(server, door), credentials=nobody, timeout=3) as client,
                    pytest.raises(AdaptSegError),
                ):
                    client.segment(IMAGE)
    assert "/readyz doesn't answer" in health.what_is_wrong(settings)


def test_files_that_do_not_fit_are_named(folder: Path, certificates: dict[str, Pair]) -> None:
    server, client = certificates["server"], certificates["client"]
    with pytest.raises(ConfigError, match="ADAPTSEG_TLS_KEY; set the missing one"):
        check_tls(Settings(tls_cert=str(server.certificate)))
    with pytest.raises(ConfigError, match="can't be used together"):
        check_tls(Settings(tls_cert=str(server.certificate), tls_key=str(client.key)))
    with pytest.raises(ConfigError, match="ADAPTSEG_TLS_CLIENT_CA='nowhere' can't be read"):
        check_tls(Settings(tls_cert=str(server.certificate), tls_key=str(server.key), tls_client_ca="nowhere"))
    (folder / "empty").write_text("# none\n")
    with pytest.raises(ConfigError, match="holds no token"):
        Tokens(folder / "empty")
