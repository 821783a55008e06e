"""NVIDIA's perf_analyzer, unchanged, measures both doors. It runs where it is installed (docs/deployment.md)."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count

import pytest
from helpers.serving import Server, serving
from helpers.tiny_bundle import write_tiny_bundle

from adaptseg_serve.bundle import open_bundle

PROGRAM = shutil.which(os.environ.get("PERF_ANALYZER", "perf_analyzer"))
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no perf_analyzer on PATH; docs/deployment.md says how to get it, PERF_ANALYZER names it"
)

REQUESTS = 20
MEASURE = ["--request-count", str(REQUESTS), "--shape", "image:48,64,3"]
COUNTED = re.compile(r"(Inference|Execution|Successful request) count: (\d+)")

WAYS = {
    "grpc": ["-i", "grpc"],
    "http": ["-i", "http"],
    "stream": ["-i", "grpc", "--streaming", "--async", "--concurrency-range", "2"],
    "grpc batches": ["-i", "grpc", "-b", "4", "--input-data", "random", "--concurrency-range", "2"],
    "http batches": ["-i", "http", "-b", "4", "--input-data", "random", "--concurrency-range", "2"],
    "grpc compressed": ["-i", "grpc", "--grpc-compression-algorithm", "gzip"],
    "http json": ["-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"],
}


@pytest.fixture(scope="module")
def lettered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a bundle whose own version begins with a letter, where Triton's are numbers."""
    folder = tmp_path_factory.mktemp("perf")
    bundles = (write_tiny_bundle(folder / str(seed), seed=seed) for seed in count())
    bundle = next(bundle for bundle in bundles if open_bundle(bundle).version[0].isalpha())
    with serving(bundle, folder) as server:
        yield server


def measure(server: Server, *options: str) -> "subprocess.CompletedProcess[str]":
    address = server.http_url.removeprefix("http://") if "http" in options else server.grpc_target
    command = [str(PROGRAM), "-m", "tiny", "-u", address, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("way", WAYS)
def test_it_measures_a_door_and_reads_what_the_server_counted(lettered: Server, way: str) -> None:
    done = measure(lettered, *MEASURE, *WAYS[way])
    assert done.returncode == 0, done.stdout + done.stderr
    images = 4 if "-b" in WAYS[way] else 1
    report = done.stdout.partition("Server:")[2]
    found = {name: int(number) for name, number in COUNTED.findall(report)}
    # It asks for the counts while requests are under way: those may be missing, and a batch be half counted.
    assert found["Successful request"] >= REQUESTS - 2
    assert abs(found["Inference"] - images * found["Successful request"]) <= 2 * images
    assert found["Execution"] <= found["Inference"] + 2
    assert "compute infer" in report


def test_windows_of_time_over_a_range_of_clients(lettered: Server) -> None:
    options = ["--measurement-interval", "1000", "--stability-percentage", "95", "-r", "9", "--shape", "image:48,64,3"]
    done = measure(lettered, "-i", "grpc", "--concurrency-range", "1:2", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Inference count: ") == 2


def test_without_a_shape_it_asks_for_one(lettered: Server) -> None:
    done = measure(lettered, "-i", "grpc")
    assert done.returncode != 0
    assert "provide shapes" in done.stderr + done.stdout


def test_too_large_a_batch_is_its_error_and_names_the_limit(lettered: Server) -> None:
    done = measure(lettered, *MEASURE, "-i", "grpc", "-b", "9")
    assert done.returncode != 0
    assert "at most 8" in done.stderr + done.stdout
