"""NVIDIA's tritonclient, unchanged and in its own process, gets the label map that HTTP gives, byte for byte."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
from helpers.serving import Server

SCRIPT = Path(__file__).parent / "helpers" / "triton_script.py"


def test_every_door_gives_tritonclient_the_same_label_map(server: Server, tmp_path: Path) -> None:
    frame = np.random.default_rng(5).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    np.save(tmp_path / "frame.npy", frame)
    file = cv2.imencode(".png", frame[..., ::-1])[1].tobytes()
    (tmp_path / "frame.png").write_bytes(file)
    arguments = [server.http_url.removeprefix("http://"), server.grpc_target, "frame.npy", "frame.png", "out.npz"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=tmp_path, timeout=60, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    request = urllib.request.Request(
        f"{server.http_url}/v1/segment", file, {"Content-Type": "image/png", "Accept": "application/octet-stream"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        expected = answer.read()
    with np.load(tmp_path / "out.npz") as answers:
        assert len(answers.files) == 12
        for name in answers.files:
            assert answers[name].shape == (1, 90, 130), name
            assert answers[name].tobytes() == expected, name


def test_a_process_may_have_both_clients() -> None:
    """Each brings its own stubs of inference.proto, which protobuf holds once; so our client must do without."""
    both = "import tritonclient.grpc, adaptseg_serve.client"
    done = subprocess.run([sys.executable, "-c", both], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
