"""Another bundle under load: no request fails, each answer is its bundle's own, and a bad bundle changes nothing."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import grpc
import httpx
import numpy as np
import pytest
from helpers.doors import until
from helpers.serving import Server, serving
from helpers.tiny_bundle import write_tiny_bundle

from adaptseg_serve import hotswap
from adaptseg_serve.bundle import manifest_digest, open_bundle
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.labels import CAMVID
from adaptseg_serve.predictor import load_predictor
from adaptseg_serve.segmenter import Segmenter

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()
RAW = {"Content-Type": "image/png", "Accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server looks: a link to the bundle `first`; others lie beside it."""
    folder = tmp_path_factory.mktemp("swap")
    for seed, name in enumerate(("first", "second")):
        write_tiny_bundle(folder / name, seed=seed)
    write_tiny_bundle(folder / "camvid", labels=CAMVID)
    broken = shutil.copytree(folder / "first", folder / "broken")
    (broken / "bundle.json").write_bytes((broken / "bundle.json").read_bytes() + b" ")
    (broken / "model.onnx").write_bytes(b"no graph")
    (folder / "served").symlink_to("first")
    return folder / "served"


@pytest.fixture(scope="module")
def running(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(place, tmp_path_factory.mktemp("server"), ADAPTSEG_BUNDLE_WATCH="0.05") as server:
        yield server


def _put(place: Path, name: str) -> str:
    """Let the link point to `name` at once; returns its version."""
    link = place.with_name("next")
    link.symlink_to(name)
    link.replace(place)
    return open_bundle(place).version if name in ("first", "second") else ""


def _wait_for(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not what():
        assert time.monotonic() < give_up, "it did not happen within 30 s"
        time.sleep(0.02)


def _version(server: Server) -> str:
    return httpx.post(f"{server.http_url}/v1/segment", content=PNG, headers=RAW).headers["X-Model-Version"]


def _expected(folder: Path) -> dict[str, bytes]:
    """Version -> the label map that this bundle gives."""
    found = {}
    for name in ("first", "second"):
        bundle = open_bundle(folder / name)
        found[bundle.version] = load_predictor(bundle).predict(FRAME[None], [(48, 64)])[0].tobytes()
    assert len(set(found.values())) == 2
    return found


def test_no_request_fails_while_bundles_change_and_each_answer_is_its_bundles_own(running: Server, place: Path) -> None:
    expected = _expected(place.parent)
    before = _swaps(running, "done")
    answers: list[tuple[str, bytes]] = []
    faults: list[BaseException] = []
    done = threading.Event()

    def over_http() -> tuple[str, bytes]:
        answer = client.post(f"{running.http_url}/v1/segment", content=PNG, headers=RAW)
        answer.raise_for_status()
        return answer.headers["X-Model-Version"], answer.content

    def over_grpc() -> tuple[str, bytes]:
        answer = stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=PNG)))
        return answer.model_version, answer.label_map.train_ids

    def load(ask: Callable[[], tuple[str, bytes]]) -> None:
        try:
            while not done.is_set():
                answers.append(ask())
        except BaseException as error:
            faults.append(error)

    with httpx.Client() as client, grpc.insecure_channel(running.grpc_target) as channel:
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        threads = [threading.Thread(target=load, args=(ask,)) for ask in (over_http, over_http, over_grpc, over_grpc)]
        for thread in threads:
            thread.start()
        for number, name in enumerate(("second", "first", "second"), 1):
            _put(place, name)
            # Counted when the old bundle's last answer has left.
            _wait_for(lambda n=number: _swaps(running, "done") == before + n or bool(faults))  # type: ignore[misc]
        settled = len(answers)
        _wait_for(lambda: len(answers) > settled + 8)
        done.set()
        for thread in threads:
            thread.join(30)
    assert not faults
    assert {version for version, _ in answers} == set(expected)
    assert {version for version, _ in answers[settled + 4 :]} == {open_bundle(place).version}
    assert all(expected[version] == label_map for version, label_map in answers)
    metrics = httpx.get(f"{running.http_url}/metrics").text
    ones = [line for line in metrics.splitlines() if line.startswith("adaptseg_build_info") and line.endswith(" 1.0")]
    assert len(ones) == 1
    assert f'bundle_version="{open_bundle(place).version}"' in ones[0]


@pytest.mark.parametrize(("name", "why"), [("broken", "has 8 bytes"), ("camvid", "Other classes need a restart")])
def test_a_bundle_that_cannot_be_served_changes_nothing(running: Server, place: Path, name: str, why: str) -> None:
    good = _put(place, "first")
    _wait_for(lambda: _version(running) == good)
    refused = _swaps(running, "refused")
    _put(place, name)
    _wait_for(lambda: _swaps(running, "refused") == refused + 1)
    assert _version(running) == good
    assert running.get("/readyz") == 200
    assert why in running.log.read_text()
    _put(place, "first")


def test_a_folder_that_is_away_for_a_while_ends_no_watch(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[Path] = []

    def look(path: Path) -> str | None:
        looks.append(path)
        if len(looks) == 1:
            raise OSError(116, "Stale file handle")
        return manifest_digest(path)

    monkeypatch.setattr(hotswap, "manifest_digest", look)

    async def main() -> None:
        segmenter = Segmenter(open_bundle(place.with_name("first")))
        await segmenter.start()
        watch = hotswap.BundleWatch(segmenter, place.with_name("second"), 0.01)
        watch.start()
        await asyncio.wait_for(until(lambda: segmenter.bundle.path.name == "second"), 30)
        await watch.stop()
        await segmenter.close(5)

    asyncio.run(main())
    assert "can't be looked at" in caplog.text


def _swaps(server: Server, outcome: str) -> float:
    name = f'adaptseg_bundle_swaps_total{{outcome="{outcome}"'
    lines = httpx.get(f"{server.http_url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))
