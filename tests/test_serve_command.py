"""`adaptseg-serve`: what can't work is said before a server starts; what can is served."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from helpers.serving import free_port

from adaptseg_serve.bundle import MANIFEST, open_bundle
from adaptseg_serve.cli.serve import main


def test_check_prints_the_settings_and_what_was_checked(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose_free_ports(monkeypatch)
    monkeypatch.setenv("ADAPTSEG_BUNDLE", str(tiny_bundle))
    monkeypatch.setenv("ADAPTSEG_MAX_BATCH", "3")
    assert main(["--check"]) == 0
    said = capsys.readouterr().out
    assert "ADAPTSEG_MAX_BATCH=3" in said
    assert f"tiny {open_bundle(tiny_bundle).version} is verified and runs on onnxruntime-cpu" in said


def choose_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for door in ("HTTP", "GRPC"):
        monkeypatch.setenv(f"ADAPTSEG_{door}_PORT", str(free_port()))


@pytest.mark.parametrize("door", ["HTTP", "gRPC"])
def test_a_taken_port_is_found_before_a_server_starts(
    door: str, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose_free_ports(monkeypatch)
    monkeypatch.setenv("ADAPTSEG_BUNDLE", str(tiny_bundle))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, name = taken.getsockname()[1], f"{door.upper()}_PORT"
        monkeypatch.setenv(f"ADAPTSEG_{name}", str(port))
        assert main(["--check"]) == 2
    said = capsys.readouterr().err
    assert f"The {door} door can't open on 127.0.0.1:{port}" in said
    assert f"ADAPTSEG_{name} (with make: {name})" in said
    assert said.count("\n") == 1


def test_an_address_of_another_machine_is_found_too(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose_free_ports(monkeypatch)
    monkeypatch.setenv("ADAPTSEG_BUNDLE", str(tiny_bundle))
    monkeypatch.setenv("ADAPTSEG_GRPC_HOST", "192.0.2.1")  # An address for documents: nobody's.
    assert main(["--check"]) == 2
    assert "ADAPTSEG_GRPC_HOST to an address of this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "code", "why"),
    [
        ("ADAPTSEG_BUNDLE", "/nowhere", 1, "/nowhere"),
        ("ADAPTSEG_MAX_BATCH", "many", 2, "ADAPTSEG_MAX_BATCH"),
        ("ADAPTSEG_TLS_CERT", "cert.pem", 2, "ADAPTSEG_TLS_KEY"),
        ("ADAPTSEG_TOKENS_FILE", "/nowhere", 2, "ADAPTSEG_TOKENS_FILE"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    name: str, value: str, code: int, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main([]) == code
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


def test_a_missing_exporter_is_found_before_a_server_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setenv("ADAPTSEG_TRACES", "otlp")
    assert main(["--check"]) == 2
    assert "ADAPTSEG_TRACES=otlp needs OpenTelemetry's exporter" in capsys.readouterr().err


def test_a_bundle_that_verifies_but_cannot_be_loaded_never_starts_a_server(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bad")
    (bundle / "model.onnx").write_bytes(b"no graph at all")
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    from hashlib import sha256

    manifest["files"]["model.onnx"] |= {"sha256": sha256(b"no graph at all").hexdigest(), "bytes": 15}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    choose_free_ports(monkeypatch)
    monkeypatch.setenv("ADAPTSEG_BUNDLE", str(bundle))
    assert main([]) == 1
    assert "model.onnx" in capsys.readouterr().err


def test_it_serves(tiny_bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    environ = {
        "ADAPTSEG_BUNDLE": str(tiny_bundle),
        "ADAPTSEG_HTTP_PORT": str(port),
        "ADAPTSEG_GRPC_PORT": "0",
        "BENTOML_HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "adaptseg_serve.cli.serve"]
    inherited = {name: value for name, value in os.environ.items() if name != "BENTOML_DO_NOT_TRACK"}
    process = subprocess.Popen(command, env=inherited | environ, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 60
        while not _ready(port):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.1)
        # BentoML's own command must find it in the environment it starts with: it asks before it imports our service.
        started_with = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert b"BENTOML_DO_NOT_TRACK=True" in started_with
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
