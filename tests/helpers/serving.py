"""A real `bentoml serve` in its own process group, with its own ports and its own BENTOML_HOME."""

import contextlib
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adaptseg_serve.client import Credentials

ROOT = Path(__file__).parents[2]
SERVICE = "adaptseg_serve.service:SegmentationService"
READY_WITHIN = 60.0


@dataclass(frozen=True)
class Server:
    """A running server."""

    http_url: str
    grpc_target: str
    bundle: Path
    process: "subprocess.Popen[bytes]"
    log: Path
    context: ssl.SSLContext | None = None
    """For a server that speaks TLS."""

    def get(self, path: str) -> int:
        """HTTP status of GET `path`; 0 where nobody answers."""
        url = self.http_url if self.context is None else self.http_url.replace("http:", "https:")
        try:
            with urllib.request.urlopen(url + path, timeout=5, context=self.context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while self.get("/readyz") != 200:
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server did not get ready:\n{self.log.read_text()}")
            time.sleep(0.05)


@contextmanager
def serving(
    bundle: Path,
    folder: Path,
    service: str = SERVICE,
    cwd: Path = ROOT,
    credentials: Credentials | None = None,
    **environ: str,
) -> Iterator[Server]:
    """Serve `bundle` until the block ends. `folder` holds the log and BENTOML_HOME; `environ` adds variables."""
    http_port = free_port()
    grpc_port = next(port for port in iter(free_port, 0) if port != http_port)  # it may be given out twice
    log = folder / "server.log"
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(http_port)]
    variables = {
        "ADAPTSEG_BUNDLE": str(bundle),
        "ADAPTSEG_GRPC_PORT": str(grpc_port),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        **environ,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=cwd, env=os.environ | variables, stdout=out, stderr=out, start_new_session=True
        )
    context = None if credentials is None else credentials.context()
    server = Server(f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", bundle, process, log, context)
    try:
        server.wait_until_ready()
        yield server
    finally:
        _end(process)


def members(group: int) -> list[int]:
    """Process ids of a process group that still run; zombies don't count."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdecimal() else []
        except OSError:
            continue
        if stat and stat[0] != "Z" and int(stat[2]) == group:
            found.append(int(entry.name))
    return found


def free_port() -> int:
    """Below the range that the kernel gives to outgoing connections: none of those can take it before its server."""
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
