"""include=confidence,entropy,shares through both doors: the numbers of the predictor itself, and only where asked."""

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.doors import grpc_door
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as pb
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2_grpc
from adaptseg_serve.http.app import create_app
from adaptseg_serve.predictor import Scored, load_predictor
from adaptseg_serve.segmenter import Segmenter

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[TestClient]:
    segmenter = Segmenter(open_bundle(tiny_bundle))
    with TestClient(create_app(segmenter)) as running:
        assert running.portal is not None
        running.portal.call(segmenter.start)
        yield running
        running.portal.call(segmenter.close)


@pytest.fixture(scope="module")
def expected(tiny_bundle: Path) -> Scored:
    bundle = open_bundle(tiny_bundle)
    image = bundle.preprocess.resize_image(FRAME)
    return load_predictor(bundle).predict_scored(image[None], [(70, 90)])[0]


def _ask(client: TestClient, query: str, accept: str = "*/*") -> tuple[int, bytes, dict[str, str]]:
    headers = {"Content-Type": "image/png", "Accept": accept}
    answer = client.post(f"/v1/segment?{query}", content=PNG, headers=headers)
    return answer.status_code, answer.content, dict(answer.headers)


def _close(found: NDArray[np.uint8], wanted: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found.reshape(wanted.shape) / 255, wanted, atol=0.5 / 255 + 1e-6)


def test_json_carries_the_maps_as_grey_pngs(client: TestClient, expected: Scored) -> None:
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    content = client.post("/v1/segment?include=entropy,confidence", content=PNG, headers=headers).json()
    maps = expected.uncertainty()
    for name, wanted in (("confidence", maps.confidence), ("entropy", maps.entropy)):
        picture = Image.open(io.BytesIO(base64.b64decode(content[name]["data"])))
        assert picture.mode == "L"
        _close(np.asarray(picture), wanted)
        assert content[name]["mean"] == pytest.approx(float(wanted.mean()), abs=0.003)
        assert content[name]["size"] == [70, 90]
    label_map = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["label_map"]["data"]))))
    np.testing.assert_array_equal(label_map, expected.label_map)


@pytest.mark.parametrize("names", [["entropy"], ["confidence", "entropy"]])
def test_raw_bytes_are_planes_that_the_header_names(client: TestClient, expected: Scored, names: list[str]) -> None:
    status, body, headers = _ask(client, f"include={','.join(reversed(names))}", "application/octet-stream")
    assert status == 200
    assert headers["x-planes"] == ",".join(["labels", *names])
    planes = np.frombuffer(body, np.uint8).reshape(1 + len(names), 70, 90)
    np.testing.assert_array_equal(planes[0], expected.label_map)
    for plane, name in zip(planes[1:], names, strict=True):
        _close(plane, getattr(expected.uncertainty(), name))


def test_maps_make_json_the_default_and_a_picture_impossible(client: TestClient) -> None:
    status, _, headers = _ask(client, "include=confidence")
    assert (status, headers["content-type"]) == (200, "application/json")
    status, body, _ = _ask(client, "include=confidence", "image/png")
    assert status == 406
    assert b"application/json" in body
    status, body, _ = _ask(client, "include=entropy&render=overlay")
    assert status == 422
    assert b"render=labels" in body


def test_who_asks_for_nothing_gets_nothing(client: TestClient) -> None:
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    content = client.post("/v1/segment", content=PNG, headers=headers).json()
    assert not {"confidence", "entropy"} & content.keys()
    _, body, headers = _ask(client, "", "application/octet-stream")
    assert (len(body), headers["x-planes"]) == (70 * 90, "labels")


@pytest.mark.parametrize("streaming", [False, True])
def test_grpc_answers_the_extras_asked_for(tiny_bundle: Path, expected: Scored, streaming: bool) -> None:
    include = pb.Include(confidence=True, entropy=True, shares=True)
    image = pb.Image(encoded=PNG)

    async def ask() -> pb.SegmentResponse | pb.FrameResult:
        async with grpc_door(tiny_bundle) as door:
            stub = segmentation_pb2_grpc.SegmentationServiceStub(door.channel)
            if not streaming:
                return await stub.Segment(pb.SegmentRequest(image=image, include=include))
            frames = iter([pb.StreamSegmentRequest(image=image, include=include)])
            return next(iter([answer async for answer in stub.StreamSegment(frames)])).result

    answer = asyncio.run(ask())
    maps = expected.uncertainty()
    _close(np.frombuffer(answer.extras.confidence, np.uint8), maps.confidence)
    _close(np.frombuffer(answer.extras.entropy, np.uint8), maps.entropy)
    counts = np.bincount(expected.label_map.ravel(), minlength=len(answer.extras.shares))
    np.testing.assert_allclose(answer.extras.shares, counts / counts.sum())


def test_grpc_leaves_extras_unset_where_nobody_asked(tiny_bundle: Path) -> None:
    async def ask() -> pb.SegmentResponse:
        async with grpc_door(tiny_bundle) as door:
            stub = segmentation_pb2_grpc.SegmentationServiceStub(door.channel)
            answer: pb.SegmentResponse = await stub.Segment(pb.SegmentRequest(image=pb.Image(encoded=PNG)))
            return answer

    assert not asyncio.run(ask()).HasField("extras")
