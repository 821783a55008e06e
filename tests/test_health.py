"""The health check of a container, against real servers: ready, gone, loading, with mTLS."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from helpers.certificates import Pair, authority, signed
from helpers.serving import ROOT, Server, free_port, serving

from adaptseg_serve.cli.health import what_is_wrong
from adaptseg_serve.client import Credentials
from adaptseg_serve.settings import Settings, variable


def port_of(server: Server) -> int:
    return int(server.http_url.rpartition(":")[2])


def check(**environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "adaptseg_serve.cli.health"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_ready_server_is_healthy_by_its_settings_alone(server: Server, host: str) -> None:
    found = check(ADAPTSEG_HTTP_HOST=host, ADAPTSEG_HTTP_PORT=str(port_of(server)), http_proxy="http://127.0.0.1:9")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_nobody_there_and_a_wrong_setting_are_one_sentence_each() -> None:
    port = str(free_port())
    for environ, reason in (
        ({"ADAPTSEG_HTTP_PORT": port}, f"{port}/readyz doesn't answer"),
        ({"ADAPTSEG_HTTP_PORT": "x"}, "number"),
    ):
        found = check(**environ)
        assert found.returncode == 1
        assert found.stderr.startswith("adaptseg-serve: ")
        assert found.stderr.count("\n") == 1
        assert reason in found.stderr


def test_a_server_that_loads_or_drains_is_not_ready() -> None:
    class Loading(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Loading) as loading:
        Thread(target=loading.handle_request).start()
        assert "answers 503" in what_is_wrong(Settings(http_port=loading.server_port))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = authority(folder), authority(folder, "stranger")
    return {
        "ours": ours,
        "others": others,
        "server": signed(folder, "server", ours),
        "client-of-others": signed(folder, "stranger-client", others),
    }


def test_a_server_whose_clients_have_another_authority_is_healthy_if_it_takes_connections(
    tiny_bundle: Path, tmp_path: Path, certificates: dict[str, Pair]
) -> None:
    """It lets nobody in who shows its own certificate. Other servers with TLS: test_security.py."""
    pair, client = certificates["server"], certificates["client-of-others"]
    settings = Settings(tls_cert=str(pair.certificate), tls_key=str(pair.key))
    settings = replace(settings, tls_client_ca=str(certificates["others"].certificate))
    known = Credentials(certificates["ours"].certificate, client.certificate, client.key)
    environ = {variable(name): getattr(settings, name) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    with serving(tiny_bundle, tmp_path, credentials=known, **environ) as server:
        assert what_is_wrong(replace(settings, http_port=port_of(server))) == ""
    assert "/readyz doesn't answer" in what_is_wrong(replace(settings, http_port=port_of(server)))


def test_a_server_that_takes_connections_and_never_answers_is_not_healthy(certificates: dict[str, Pair]) -> None:
    """Not even under mTLS, where one that refuses our certificate is."""
    pair = certificates["server"]
    settings = Settings(tls_cert=str(pair.certificate), tls_key=str(pair.key))
    settings = replace(settings, tls_client_ca=str(certificates["others"].certificate))
    with socket.create_server(("127.0.0.1", 0)) as hung:
        assert "doesn't answer" in what_is_wrong(replace(settings, http_port=hung.getsockname()[1]))
