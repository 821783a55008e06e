"""The service as users run it: `bentoml serve` in processes of its own, asked over the network."""

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import psutil
import pytest
import yaml
from helpers.serving import ROOT, SERVICE, Server, free_port, serving
from PIL import Image

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()


def ask(server: Server, body: bytes = PNG, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.http_url}/v1/segment", content=body, headers=headers, timeout=30)


def test_a_raw_body_and_a_form_and_the_twin_agree(server: Server) -> None:
    raw = ask(server)
    assert raw.headers["content-type"] == "image/png"
    assert np.asarray(Image.open(io.BytesIO(raw.content))).shape == (70, 90)
    for path in ("/v1/segment", "/segment"):
        assert httpx.post(server.http_url + path, files={"image": PNG}).content == raw.content


CLIENT = """
import sys, bentoml
url, frame, ids = sys.argv[1:]
with bentoml.SyncHTTPClient(url) as client:
    sys.stdout.buffer.write(client.segment(image=frame, ids=ids).read_bytes())
"""


def test_bentomls_own_client_works(server: Server, tmp_path: Path) -> None:
    """In a process of its own: importing it warns of much that is not ours to mend."""
    frame = tmp_path / "frame.png"
    frame.write_bytes(PNG)
    for ids in ("train", "label"):
        command = [sys.executable, "-c", CLIENT, server.http_url, str(frame), ids]
        got = subprocess.run(command, capture_output=True, check=True).stdout
        assert got == httpx.post(f"{server.http_url}/v1/segment?ids={ids}", content=PNG).content


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("/livez", ""),
        ("/readyz", ""),
        ("/metrics", "adaptseg_build_info"),
        ("/schema.json", '"segment"'),
        ("/docs.json", '"/segment"'),
        ("/v1/labels", '"road"'),
        ("/v1/models", '"tiny"'),
        ("/v2/health/ready", "true"),
        ("/", "adaptseg"),
    ],
)
def test_what_answers_get(server: Server, path: str, holds: str) -> None:
    answer = httpx.get(server.http_url + path)
    assert answer.status_code == 200
    assert holds in answer.text


def test_the_twin_fetches_no_address(server: Server) -> None:
    """BentoML fetches what a text in a file field names; ours must not, whatever the request's form."""
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.setblocking(False)
        address = f"http://127.0.0.1:{bait.getsockname()[1]}/a.jpg"
        url = f"{server.http_url}/segment"
        form = httpx.post(url, files={"image": (None, address)})
        assert form.status_code == 422
        assert "fetches no addresses" in form.json()["detail"]
        assert httpx.post(url, json={"image": address}).status_code == 415
        assert httpx.post(url, content=address, headers={"Content-Type": "text/plain"}).status_code == 415
        with pytest.raises(BlockingIOError):
            bait.accept()


def test_pickles_are_not_read(server: Server) -> None:
    answer = httpx.post(
        f"{server.http_url}/segment", content=b"cos\n", headers={"Content-Type": "application/vnd.bentoml+pickle"}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/v1/segment", "/segment"])
def test_a_body_beyond_the_limit_costs_no_memory(server: Server, path: str) -> None:
    worker = psutil.Process(server.process.pid).children(recursive=True)[-1]
    before = worker.memory_info().rss

    def chunks() -> "list[bytes]":
        return [bytes(1 << 20)] * 200

    for content in (bytes(50 << 20), iter(chunks())):
        try:
            answer = httpx.post(server.http_url + path, content=content)
        except (httpx.WriteError, httpx.ReadError):
            continue  # The server hung up on the rest of the body before the client had read its answer.
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:adaptseg:error:too-large"
    assert worker.memory_info().rss - before < 40 << 20


def test_a_client_that_reads_sees_why_its_body_was_refused(server: Server) -> None:
    """By Content-Length, before the body is sent: what curl does with `Expect: 100-continue`."""
    place = urlsplit(server.http_url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=5)
    connection.putrequest("POST", "/v1/segment")
    connection.putheader("Content-Length", str(1 << 30))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["title"] == "Too large"
    connection.close()


def test_strange_paths_make_no_new_series(server: Server) -> None:
    before = len(httpx.get(f"{server.http_url}/metrics").text)
    for i in range(50):
        assert httpx.get(f"{server.http_url}/strange/{i}").status_code == 404
    assert len(httpx.get(f"{server.http_url}/metrics").text) < before + 500


def test_a_missing_bundle_is_one_sentence(tmp_path: Path) -> None:
    said = fails_to_start(tmp_path, ADAPTSEG_BUNDLE=str(tmp_path / "nothing"), ADAPTSEG_GRPC_PORT="0")
    assert f"adaptseg-serve: {tmp_path / 'nothing'} is not a bundle" in said


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    said = fails_to_start(tmp_path, ADAPTSEG_MAX_BATCH="many")
    assert "adaptseg-serve: ADAPTSEG_MAX_BATCH='many' must be a whole number" in said


def test_a_taken_grpc_port_is_one_sentence(tmp_path: Path, tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = fails_to_start(tmp_path, ADAPTSEG_BUNDLE=str(tiny_bundle), ADAPTSEG_GRPC_PORT=port)
    assert f"adaptseg-serve: The gRPC door can't open on 127.0.0.1:{port}" in said


def test_a_taken_http_port_is_one_sentence(tmp_path: Path, tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = fails_to_start(tmp_path, port, ADAPTSEG_BUNDLE=str(tiny_bundle), ADAPTSEG_GRPC_PORT="0")
    assert f"adaptseg-serve: The HTTP door can't open on 127.0.0.1:{port}" in said


def fails_to_start(folder: Path, port: int | None = None, **environ: str) -> str:
    """What `bentoml serve` prints; it must end by itself, with an error and without a traceback."""
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", "127.0.0.1"]
    command += ["--port", str(port or free_port())]
    variables = os.environ | {"BENTOML_HOME": str(folder / "bentoml")} | environ
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    return done.stderr + done.stdout


def test_the_bento_asks_for_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bentofile = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert bentofile["python"]["packages"] == project["dependencies"] + project["optional-dependencies"]["otlp"]


@pytest.mark.slow
def test_a_built_bento_serves_from_another_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    home = tmp_path / "server" / "bentoml"
    home.mkdir(parents=True)
    variables = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    built = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    tag = built.stdout.strip().removeprefix("__tag__:")
    source = home / "bentos" / tag.replace(":", "/") / "src"
    assert not [path for path in source.rglob("*") if path.name == "__pycache__"]
    # A mark of its own proves that the Bento's copy answers, not the checkout's.
    (source / "adaptseg_serve" / "page" / "index.html").write_text("from the Bento")
    with serving(tiny_bundle, home.parent, tag, tmp_path) as server:
        assert httpx.get(server.http_url).text == "from the Bento"
        assert ask(server).status_code == 200


def test_opencv_itself_is_bounded_in_the_service() -> None:
    """The second bound, behind the header's: OpenCV reads it once, so the service must set it before cv2 is loaded."""
    code = (
        "import adaptseg_serve.service, cv2, numpy as np\n"
        "data = cv2.imencode('.png', np.zeros((100, 101), np.uint8))[1]\n"
        "try:\n    cv2.imdecode(data, cv2.IMREAD_COLOR)\nexcept cv2.error:\n    print('refused')\n"
    )
    environ = os.environ | {"ADAPTSEG_MAX_PIXELS": "10000"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
