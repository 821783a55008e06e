"""The Python client against a real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from helpers.doors import PacedPredictor, grpc_door
from helpers.serving import Server, free_port

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.client import Answer, AsyncSegmentationClient, Dropped, SegmentationClient, ServiceError
from adaptseg_serve.client.over_http import read_answer, read_labels
from adaptseg_serve.errors import BadImage, Busy, ConfigError, UnsupportedType
from adaptseg_serve.labels import LabelSet
from adaptseg_serve.predictor import load_predictor

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, server: Server) -> str:
    return server.http_url if request.param == "http" else f"grpc://{server.grpc_target}"


@pytest.mark.parametrize("image", [IMAGE, PNG], ids=["array", "file"])
def test_both_clients_give_the_predictors_label_map(url: str, server: Server, image: np.ndarray | bytes) -> None:
    async def ask() -> Answer:
        async with AsyncSegmentationClient(url) as client:
            return await client.segment(image)

    with SegmentationClient(url) as client:
        answers = [client.segment(image), asyncio.run(ask())]
    bundle = open_bundle(server.bundle)
    expected = load_predictor(bundle).predict(IMAGE[None], [(48, 64)])[0]
    for answer in answers:
        np.testing.assert_array_equal(answer.label_map, expected)
        assert answer.model_version == bundle.version
        assert {"decode", "queue", "infer"} <= answer.timings.keys()


def test_both_clients_bring_confidence_and_entropy_where_asked(url: str, server: Server) -> None:
    async def ask() -> Answer:
        async with AsyncSegmentationClient(url) as client:
            return await client.segment(IMAGE, include=["entropy", "confidence"])

    with SegmentationClient(url) as client:
        answers = [client.segment(IMAGE, include=["confidence", "entropy"]), asyncio.run(ask())]
        assert client.segment(IMAGE, include=["entropy"]).confidence is None
        assert client.segment(IMAGE).entropy is None
    expected = load_predictor(open_bundle(server.bundle)).predict_scored(IMAGE[None], [(48, 64)])[0].uncertainty()
    for answer in answers:
        assert answer.confidence is not None
        assert answer.entropy is not None
        np.testing.assert_allclose(answer.confidence, expected.confidence, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(answer.entropy, expected.entropy, atol=0.5 / 255 + 1e-6)


def test_both_clients_bring_the_shares_of_the_classes(url: str) -> None:
    async def ask() -> Answer:
        async with AsyncSegmentationClient(url) as client:
            return await client.segment(IMAGE, include=["shares"])

    with SegmentationClient(url) as client:
        answers = [client.segment(IMAGE, include=["shares", "entropy"]), asyncio.run(ask())]
        assert client.segment(IMAGE).shares is None
        classes = len(client.labels())
    for answer in answers:
        assert answer.shares is not None
        expected = np.bincount(answer.label_map.ravel(), minlength=classes) / answer.label_map.size
        np.testing.assert_allclose(answer.shares, expected, atol=1e-6)
    assert answers[0].entropy is not None


def test_both_clients_know_what_the_numbers_mean(url: str, server: Server) -> None:
    async def ask() -> LabelSet:
        async with AsyncSegmentationClient(url) as client:
            return await client.labels()

    with SegmentationClient(url) as client:
        found = [client.labels(), asyncio.run(ask())]
    expected = open_bundle(server.bundle).labels
    for labels in found:
        assert (labels.name, labels.classes) == (expected.name, expected.classes)
        np.testing.assert_array_equal(labels.palette(), expected.palette())


def test_size_model_is_the_networks(url: str) -> None:
    with SegmentationClient(url) as client:
        assert client.segment(np.zeros((100, 30, 3), np.uint8)).label_map.shape == (100, 30)
        assert client.segment(np.zeros((100, 30, 3), np.uint8), size="model").label_map.shape == (48, 64)


def test_a_bad_image_raises_what_the_service_raised(url: str) -> None:
    with SegmentationClient(url) as client:
        with pytest.raises(UnsupportedType, match="JPEG or PNG"):
            client.segment(b"GIF89a")
        with pytest.raises(BadImage, match="PNG"):
            client.segment(b"\x89PNG\r\n\x1a\n and no more")
        for wrong in (np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)):
            with pytest.raises(ValueError, match="uint8"):
                client.segment(wrong)
        with pytest.raises(ValueError, match=r"this one is str\. A file's: Path\(name\)\.read_bytes\(\)"):
            client.segment("photo.jpg")  # type: ignore[arg-type]  # what a user may try


def test_another_service_is_told_from_ours() -> None:
    request = httpx.Request("POST", "http://login.example/v1/segment")
    with pytest.raises(ServiceError, match=r"login\.example.* with no label map .* Is it this service"):
        read_answer(httpx.Response(200, html="<h1>Log in</h1>", request=request))


def test_another_services_classes_are_none() -> None:
    request = httpx.Request("GET", "http://elsewhere/v1/labels")
    with pytest.raises(ServiceError, match="Is it this service"):
        read_labels(httpx.Response(200, json={"label_set": "x", "classes": [{"name": "road"}]}, request=request))
    with pytest.raises(ServiceError, match="answered 404"):
        read_labels(httpx.Response(404, text="no such place", request=request))


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://localhost", "http://"])
def test_a_wrong_address_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="grpc://host:3001"):
        SegmentationClient(url)


def test_streams_need_grpc(server: Server) -> None:
    with SegmentationClient(server.http_url) as client, pytest.raises(ConfigError, match="grpc://"):
        client.stream([IMAGE])


def test_a_stream_of_a_file_answers_every_frame(server: Server) -> None:
    async def frames() -> AsyncIterator[np.ndarray]:
        for _ in range(10):
            yield IMAGE

    async def ask() -> list[Answer | Dropped]:
        async with AsyncSegmentationClient(f"grpc://{server.grpc_target}") as client:
            return [answer async for answer in client.stream(frames(), latest_only=False)]

    with SegmentationClient(f"grpc://{server.grpc_target}") as client:
        both = [*client.stream([IMAGE] * 10, latest_only=False), *asyncio.run(ask())]
    assert [a.frame_id for a in both] == [*range(10), *range(10)]
    answers = [answer for answer in both if isinstance(answer, Answer)]
    assert len(answers) == len(both)
    for answer in answers:
        np.testing.assert_array_equal(answer.label_map, answers[0].label_map)


def test_a_camera_stream_names_what_it_skipped(tiny_bundle: Path) -> None:
    async def frames() -> AsyncIterator[np.ndarray]:
        for _ in range(20):
            yield IMAGE
            await asyncio.sleep(0.02)

    async def ask() -> list[Answer | Dropped]:
        async with (
            grpc_door(tiny_bundle, PacedPredictor(0.1)) as door,
            AsyncSegmentationClient(f"grpc://{door.target}") as client,
        ):
            return [answer async for answer in client.stream(frames(), max_age=5)]

    answers = asyncio.run(ask())
    assert sorted(a.frame_id for a in answers) == list(range(20))
    assert {a.reason for a in answers if isinstance(a, Dropped)} == {"SUPERSEDED"}


def test_grpc_calls_are_spread_over_a_names_addresses(tiny_bundle: Path) -> None:
    """As of a headless service's pods."""

    async def main() -> list[int]:
        port, predictors = free_port(), [PacedPredictor(), PacedPredictor()]
        async with (
            grpc_door(tiny_bundle, predictors[0], grpc_port=port),
            grpc_door(tiny_bundle, predictors[1], grpc_port=port, grpc_host="127.0.0.2"),
            AsyncSegmentationClient(f"grpc://ipv4:127.0.0.1:{port},127.0.0.2:{port}") as client,
        ):
            for _ in range(16):
                await client.segment(IMAGE)
        return [len(each.batches) for each in predictors]

    calls = asyncio.run(main())
    assert sum(calls) == 16
    assert min(calls) >= 4, "one address may be connected to a few calls before the other"


def test_grpc_errors_carry_the_services_words(tiny_bundle: Path) -> None:
    async def ask() -> None:
        async with (
            grpc_door(tiny_bundle, PacedPredictor()) as door,
            AsyncSegmentationClient(f"grpc://{door.target}") as client,
        ):
            with pytest.raises(UnsupportedType, match="GIF"):
                await client.segment(b"GIF89a")

    asyncio.run(ask())


class CameraError(Exception):
    pass


def test_an_error_of_the_frames_reaches_the_caller(server: Server) -> None:
    """And not gRPC's log alone, or a cancellation that nobody asked for."""

    async def frames() -> AsyncIterator[np.ndarray]:
        yield IMAGE
        raise CameraError

    async def ask() -> None:
        async with AsyncSegmentationClient(f"grpc://{server.grpc_target}") as client:
            async for _ in client.stream(frames()):
                pass

    def synchronous(error: type[BaseException]) -> Iterator[np.ndarray]:
        yield IMAGE
        raise error

    with pytest.raises(CameraError):
        asyncio.run(ask())
    for error in (CameraError, SystemExit):
        with SegmentationClient(f"grpc://{server.grpc_target}") as client, pytest.raises(error):
            list(client.stream(synchronous(error)))


def test_a_stream_that_is_left_early_ends(server: Server) -> None:
    """The client can be used again, and the frames are asked for no further."""
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(1000):
            taken.append(number)
            yield IMAGE
            time.sleep(0.01)

    with SegmentationClient(f"grpc://{server.grpc_target}") as client:
        for _ in client.stream(frames(), latest_only=False):
            break
        seen = len(taken)
        time.sleep(0.3)
        assert len(taken) <= seen + 1, "no further than the frame that gRPC had asked for"
        assert client.segment(PNG).label_map.shape == (48, 64)


def test_a_stream_ends_only_when_its_frames_are_left_alone() -> None:
    """A process may end next, and OpenCV that is at work in a thread would abort it."""
    at_work = False

    def frames() -> Iterator[np.ndarray]:
        nonlocal at_work
        while True:
            at_work = True
            time.sleep(0.3)
            at_work = False
            yield IMAGE

    with SegmentationClient(f"grpc://127.0.0.1:{free_port()}") as client, pytest.raises(Busy):
        list(client.stream(frames()))
    assert not at_work
    time.sleep(0.5)
    assert not at_work, "and they are not asked again"
