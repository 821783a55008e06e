"""The examples, run against a real server."""

import importlib.util
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.serving import ROOT, Server, free_port, serving

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.client import SegmentationClient
from adaptseg_serve.predictor import load_predictor

EXAMPLES = ROOT / "examples"
FRAME = np.random.default_rng(4).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(server: Server) -> np.ndarray:
    return load_predictor(open_bundle(server.bundle)).predict(FRAME[None], [(48, 64)])[0]


def run(name: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_folder(server: Server, expected: np.ndarray, tmp_path: Path, scheme: str) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(6):
        cv2.imwrite(str(frames / f"{number}.png"), FRAME[..., ::-1])
    (frames / "bad.jpg").write_bytes(b"not an image")
    url = server.http_url if scheme == "http" else f"grpc://{server.grpc_target}"
    done = run("folder.py", url, frames, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("bad.jpg: ")
    assert len(done.stderr.splitlines()) == 1
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == [f"{number}.png.png" for number in range(6)]
    for path in written:
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), expected)


def test_a_camera_whose_service_is_away_is_one_line(tmp_path: Path) -> None:
    """The frames are read in a thread of gRPC's; a process that ended meanwhile was aborted."""
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    for _ in range(300):
        writer.write(np.zeros((480, 640, 3), np.uint8))
    writer.release()
    done = run("webcam.py", f"grpc://127.0.0.1:{free_port()}", video)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("webcam: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_keeps_apart_what_is_of_one_stem_and_says_what_it_can_not_write(
    server: Server, tmp_path: Path
) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    for name in ("a.jpg", "a.png", "b.png"):
        cv2.imwrite(str(frames / name), FRAME[..., ::-1])
    (out / "b.png.png").mkdir(parents=True)
    done = run("folder.py", server.http_url, frames, out)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"b.png: {out / 'b.png.png'} can't be written."
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["a.jpg.png", "a.png.png"]


def test_a_folder_without_a_service_or_arguments_is_a_sentence(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), FRAME)
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        done = run("folder.py", f"http://127.0.0.1:{nobody.getsockname()[1]}", tmp_path, tmp_path / "out")
    assert (done.returncode, done.stderr[:7]) == (1, "a.png: ")
    assert len(done.stderr.splitlines()) == 1
    done = run("folder.py", "http://127.0.0.1:3000", tmp_path / "nowhere", tmp_path / "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    done = run("folder.py")
    assert (done.returncode, done.stderr) == (2, "usage: python examples/folder.py URL FRAMES OUT\n")


def test_a_video_as_a_camera(server: Server, tmp_path: Path) -> None:
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for _ in range(40):
        writer.write(FRAME)
    writer.release()
    done = run("webcam.py", f"grpc://{server.grpc_target}", video)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    counts = {name: int(count) for name, count in re.findall(r"'(\w+)': (\d+)", last)}
    assert sum(counts.values()) == 40
    assert counts["ANSWERED"] > 0


def test_a_missing_camera_is_one_sentence(server: Server) -> None:
    done = run("webcam.py", f"grpc://{server.grpc_target}", "nothing.mp4")
    assert "nothing.mp4 can't be opened" in done.stderr.splitlines()[-1]


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ros_node() -> ModuleType:
    """Imported where there is no ROS."""
    return imported("ros_node")


def test_a_frame_of_3840x2160_is_small_enough_and_comes_at_its_time(server: Server, tmp_path: Path) -> None:
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 5, (3840, 2160))
    for _ in range(3):
        writer.write(cv2.resize(FRAME, (3840, 2160)))
    writer.release()
    started = time.monotonic()
    files = list(imported("webcam").Frames(str(video)))
    assert time.monotonic() - started >= 0.4  # the third one's time
    assert len(files) == 3
    with SegmentationClient(f"grpc://{server.grpc_target}") as client:
        assert client.segment(files[0]).label_map.shape == (2160, 3840)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_ros_images_are_read_with_their_padding(ros_node: ModuleType, encoding: str) -> None:
    pixels = FRAME if encoding == "rgb8" else FRAME[..., ::-1]
    padded = np.hstack([pixels.reshape(48, 192), np.full((48, 8), 99, np.uint8)])
    message = SimpleNamespace(data=padded.tobytes(), height=48, width=64, step=200, encoding=encoding)
    np.testing.assert_array_equal(ros_node.to_rgb(message), FRAME)


def test_the_ros_bridge_publishes_under_the_images_own_header(
    ros_node: ModuleType, server: Server, expected: np.ndarray
) -> None:
    published: list[tuple[int, np.ndarray]] = []
    bridge = ros_node.Bridge(
        f"grpc://{server.grpc_target}", lambda header, label_map: published.append((header, label_map))
    )
    for number in range(20):
        bridge.on_image(number, FRAME)
        time.sleep(0.02)
    bridge.close()
    headers = [header for header, _ in published]
    assert headers == sorted(set(headers))
    assert headers[-1] == 19
    assert len(headers) + bridge.skipped <= 20
    for _, label_map in published:
        np.testing.assert_array_equal(label_map, expected)


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@contextmanager
def feeding(bridge: Any) -> Iterator[None]:
    """A camera of 20 frames a second, until the block ends; then the bridge is closed."""
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(0.05):
            bridge.on_image("header", FRAME)

    camera = threading.Thread(target=feed)
    camera.start()
    try:
        yield
    finally:
        ended.set()
        camera.join()
        bridge.close()


def test_a_publish_that_fails_does_not_end_the_bridge(
    ros_node: ModuleType, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    published: list[np.ndarray] = []

    def publish(header: object, label_map: np.ndarray) -> None:
        published.append(label_map)
        if len(published) == 1:
            raise RuntimeError("the context is gone")

    with feeding(ros_node.Bridge(f"grpc://{server.grpc_target}", publish)):
        until(lambda: len(published) > 2)
    assert "another follows in 1 s: the context is gone" in caplog.text


@pytest.mark.slow
def test_streams_wait_for_the_next_service(ros_node: ModuleType, tiny_bundle: Path, tmp_path: Path) -> None:
    """The bridge begins before there is a service; the first one that comes drains, and another follows."""
    address, published, video = f"127.0.0.1:{free_port()}", [], tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(600):
        writer.write(FRAME)
    writer.release()
    out, errors = tmp_path / "out", tmp_path / "errors"

    def answered() -> int:
        """By webcam.py's last line."""
        return int((re.findall(r"'ANSWERED': (\d+)", out.read_text()) or ["0"])[-1])

    bridge = ros_node.Bridge(f"grpc://{address}", lambda header, label_map: published.append(header))
    webcam: subprocess.Popen[bytes] | None = None
    try:
        with feeding(bridge), out.open("wb") as stdout, errors.open("wb") as stderr:
            for name in ("first", "second"):
                (tmp_path / name).mkdir()
                with serving(tiny_bundle, tmp_path / name, ADAPTSEG_GRPC_PORT=address.rpartition(":")[2]):
                    command = [sys.executable, str(EXAMPLES / "webcam.py"), f"grpc://{address}", str(video)]
                    webcam = webcam or subprocess.Popen(command, stdout=stdout, stderr=stderr)
                    before, seen = len(published), answered()
                    until(lambda before=before: len(published) > before)
                    until(lambda seen=seen: answered() > seen)
        assert "shutting down" in errors.read_text()
    finally:
        if webcam is not None:
            webcam.kill()
            webcam.wait()
