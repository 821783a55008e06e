"""NVIDIA's Triton with its Python backend as gate 5's contender: the same trivial model, on the same machine.

    python -m venv triton && triton/bin/pip install nvidia-pytriton
    python benchmarks/gates.py --only 5 6 --triton triton/bin/python

The wheel holds the server, the backend and stubs for several Pythons; nothing of pytriton itself runs here.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from helpers.serving import free_port

_FACTS = "import pytriton, sys; print(pytriton.__path__[0]); print('%d.%d' % sys.version_info[:2]); print(sys.prefix)"
_CONFIG = """name: "segmenter"
backend: "python"
max_batch_size: 4
input [{ name: "image" data_type: TYPE_UINT8 dims: [-1, -1, 3] }]
output [{ name: "label_map" data_type: TYPE_UINT8 dims: [-1, -1] }]
dynamic_batching {}
"""
_MODEL = """import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        images = [backend.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        maps = [np.full(image.shape[:3], 1, np.uint8) for image in images]
        return [backend.InferenceResponse([backend.Tensor("label_map", each)]) for each in maps]
"""


@contextmanager
def triton(python: Path) -> Iterator[str]:
    """The gRPC address of a Triton server of the environment whose interpreter is `python`, until the block ends."""
    said = subprocess.run([python, "-c", _FACTS], capture_output=True, text=True, check=True).stdout.split()
    package, version, prefix = Path(said[0]), said[1], Path(said[2])
    with TemporaryDirectory() as folder:
        place = Path(folder)
        backends = _backends(package / "tritonserver", version, place)
        port = free_port()
        target = f"127.0.0.1:{port}"
        with (place / "log").open("w") as log:
            words = [package / "tritonserver" / "bin" / "tritonserver", *_flags(place, backends, port)]
            server = subprocess.Popen(words, stdout=log, stderr=log, env=_environ(package, prefix))
            try:
                _wait(server, target, place / "log")
                yield target
            finally:
                server.terminate()
                server.wait(60)


def _backends(server: Path, version: str, place: Path) -> Path:
    """The Python backend with the stub of this Python beside it, and the model's repository."""
    python = place / "backends" / "python"
    shutil.copytree(server / "backends" / "python", python)
    shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", python)
    model = place / "models" / "segmenter" / "1"
    model.mkdir(parents=True)
    (model / "model.py").write_text(_MODEL)
    (model.parent / "config.pbtxt").write_text(_CONFIG)
    return python.parent


def _flags(place: Path, backends: Path, port: int) -> list[str]:
    return [
        f"--model-repository={place / 'models'}",
        f"--backend-directory={backends}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
    ]


def _environ(package: Path, prefix: Path) -> dict[str, str]:
    libraries = package.parent / "nvidia_pytriton.libs"
    return os.environ | {"LD_LIBRARY_PATH": str(libraries), "PATH": f"{prefix / 'bin'}:{os.environ['PATH']}"}


def _wait(server: subprocess.Popen[bytes], target: str, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with grpc.insecure_channel(target) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=2)
            except grpc.FutureTimeoutError:
                continue
            return
    raise RuntimeError(f"Triton didn't start:\n{log.read_text()[-2000:]}")
