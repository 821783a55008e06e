"""The HTTP door, in process: formats, parameters, limits, and an honest answer to whatever a client sends."""

import asyncio
import base64
import io
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.http import middleware
from adaptseg_serve.http.app import create_app
from adaptseg_serve.http.middleware import BodyLimit, RequestNames
from adaptseg_serve.http.parameters import negotiate
from adaptseg_serve.http.segment import answer
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()
SETTINGS = Settings(max_body_bytes=100_000, max_pixels=10_000)


@pytest.fixture(scope="module")
def segmenter(tiny_bundle: Path) -> Segmenter:
    return Segmenter(open_bundle(tiny_bundle), SETTINGS)


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[TestClient]:
    app = create_app(segmenter)
    guarded = RequestNames(BodyLimit(app, SETTINGS.max_body_bytes))
    with TestClient(guarded, raise_server_exceptions=True) as running:
        assert running.portal is not None
        running.portal.call(segmenter.start)
        yield running
        running.portal.call(segmenter.close)


@pytest.fixture(scope="module")
def bundle(segmenter: Segmenter) -> Bundle:
    return segmenter.bundle


def ids_of(png: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(png))
    assert image.mode == "P"
    return np.asarray(image)


def problem(answer: Any, status: int, name: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["type"] == f"urn:adaptseg:error:{name}"
    assert content["status"] == status
    return str(content["detail"])


def test_the_default_answer_is_a_palette_png_of_train_ids(client: TestClient, bundle: Bundle) -> None:
    answer = client.post("/v1/segment", content=PNG)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    ids = ids_of(answer.content)
    assert ids.shape == (70, 90)
    colors = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    np.testing.assert_array_equal(colors, bundle.labels.palette()[ids])


def test_every_format_holds_the_same_label_map(client: TestClient) -> None:
    png = client.post("/v1/segment", content=PNG)
    raw = client.post("/v1/segment", content=PNG, headers={"Accept": "application/octet-stream"})
    shape = int(raw.headers["x-label-map-height"]), int(raw.headers["x-label-map-width"])
    np.testing.assert_array_equal(np.frombuffer(raw.content, np.uint8).reshape(shape), ids_of(png.content))
    content = client.post("/v1/segment", content=PNG, headers={"Accept": "application/json"}).json()
    assert base64.b64decode(content["label_map"]["data"]) == png.content
    assert content["label_map"]["size"] == [70, 90]
    assert sum(content["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert content["classes"][0] == {"train_id": 0, "name": "road", "color": [128, 64, 128], "label_id": 7}


def test_a_form_and_a_raw_body_give_the_same_answer(client: TestClient) -> None:
    raw = client.post("/v1/segment?ids=label", content=PNG)
    form = client.post("/v1/segment?ids=label", files={"image": PNG})
    fields = client.post("/v1/segment", files={"image": PNG}, data={"ids": '"label"'})
    assert raw.content == form.content == fields.content


def test_label_ids_are_the_data_sets_own(client: TestClient, bundle: Bundle) -> None:
    train = client.post("/v1/segment", content=PNG).content
    label = client.post("/v1/segment?ids=label", content=PNG).content
    np.testing.assert_array_equal(ids_of(label), bundle.labels.to_label_ids()[ids_of(train)])
    as_seen = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in (train, label)]
    np.testing.assert_array_equal(*as_seen)


def test_size_model_is_the_networks(client: TestClient) -> None:
    assert ids_of(client.post("/v1/segment?size=model", content=PNG).content).shape == (48, 64)


@pytest.mark.parametrize("size", ["input", "model"])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("render", ["color", "overlay"])
def test_pictures_for_people(client: TestClient, bundle: Bundle, size: str, kind: str, render: str) -> None:
    query = f"/v1/segment?render={render}&size={size}"
    answer = client.post(query, content=PNG, headers={"Accept": f"image/{kind}"})
    assert answer.headers["content-type"] == f"image/{kind}"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    ids = ids_of(client.post(f"/v1/segment?size={size}", content=PNG).content)
    colors = bundle.labels.palette()[ids].astype(int)
    image = FRAME if size == "input" else bundle.preprocess.resize_image(FRAME)
    expected = colors if render == "color" else (colors + image) / 2
    assert np.abs(picture - expected).mean() < (1 if kind == "png" else 15)


def test_answers_say_what_made_them(client: TestClient, bundle: Bundle) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-Id": "frame-17", "traceparent": traceparent}
    answer = client.post("/v1/segment?include=shares", content=PNG, headers=headers)
    assert answer.headers["x-model-version"] == bundle.version
    assert answer.headers["x-request-id"] == "frame-17"
    assert answer.headers["traceparent"] == traceparent
    stages = [part.split(";dur=") for part in answer.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["decode", "queue", "infer", "encode"]
    assert all(float(milliseconds) >= 0 for _, milliseconds in stages)
    assert sum(json.loads(answer.headers["x-class-shares"]).values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sent", ["", "a b", "x" * 200, 'a"b'])
def test_a_request_without_a_fit_id_gets_one(client: TestClient, sent: str) -> None:
    given_back = client.get("/v1/labels", headers={"X-Request-Id": sent}).headers["x-request-id"]
    assert given_back != sent
    assert len(given_back) == 32


def test_labels_and_models(client: TestClient, bundle: Bundle) -> None:
    labels = client.get("/v1/labels").json()
    assert [row["name"] for row in labels["classes"]] == list(bundle.labels.names)
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["name"], model["version"], model["ready"]) == ("tiny", bundle.version, True)
    assert model["input"]["size"] == [48, 64]


def test_the_page_is_served_and_nothing_beside_it(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "adaptseg" in page.text
    for path in (
        "/../settings.py",
        "/%2e%2e/settings.py",
        "/samples/../../settings.py",
        "/samples/%2e%2e/index.html/x",
    ):
        assert client.get(path).status_code == 404


def test_metrics_count_what_happened(client: TestClient) -> None:
    client.post("/v1/segment", content=PNG)
    client.post("/v1/segment", content=b"")
    text = client.get("/metrics").text
    assert 'adaptseg_inference_requests_total{outcome="ok",protocol="http",reason=""}' in text
    assert 'adaptseg_inference_requests_total{outcome="error",protocol="http",reason="bad-image"}' in text
    for stage in ("decode", "queue", "infer", "encode"):
        assert f"adaptseg_{stage}_duration_seconds_bucket" in text
    assert "adaptseg_build_info{" in text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("ids=both", "ids='both' must be one of train, label"),
        ("render=mask", "must be one of labels, color, overlay"),
        ("size=big", "must be one of input, model"),
        ("include=confidence&render=color", "go with render=labels"),
        ("include=magic", "'magic' is unknown"),
        ("rendr=color", "Perhaps you meant 'render'"),
        ("ids=%ff%fe", "must be one of"),
    ],
)
def test_a_wrong_parameter_is_named(client: TestClient, query: str, says: str) -> None:
    assert says in problem(client.post(f"/v1/segment?{query}", content=PNG), 422, "bad-parameter")


@pytest.mark.parametrize("milliseconds", ["0", "-1", "1e3", "soon", "9" * 30, "3600001"])
def test_a_wrong_timeout_is_refused(client: TestClient, milliseconds: str) -> None:
    answer = client.post("/v1/segment", content=PNG, headers={"X-Request-Timeout-Ms": milliseconds})
    assert "X-Request-Timeout-Ms" in problem(answer, 422, "bad-parameter")


def test_an_expired_request_is_a_504(client: TestClient) -> None:
    big = cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
    answers = [client.post("/v1/segment", content=big, headers={"X-Request-Timeout-Ms": "1"}) for _ in range(20)]
    assert {a.status_code for a in answers} <= {200, 504}
    for late in (a for a in answers if a.status_code == 504):
        problem(late, 504, "deadline-exceeded")


@pytest.mark.parametrize(
    ("accept", "render", "chosen"),
    [
        ("", "labels", "image/png"),
        ("*/*", "labels", "image/png"),
        ("image/avif,image/webp,image/*;q=0.8,*/*;q=0.5", "labels", "image/png"),
        ("application/json, image/png;q=0.5", "labels", "application/json"),
        ("application/*", "labels", "application/octet-stream"),
        ("image/png;q=0, */*", "labels", "application/octet-stream"),
        ("IMAGE/JPEG ; Q=1", "overlay", "image/jpeg"),
        ("text/html;q=x, image/png", "labels", "image/png"),
    ],
)
def test_accept_is_negotiated(accept: str, render: Any, chosen: str) -> None:
    assert negotiate(accept, render) == chosen


@pytest.mark.parametrize(
    ("accept", "query"), [("text/html", ""), ("image/jpeg", ""), ("application/json", "?render=color")]
)
def test_an_unavailable_format_is_a_406_with_the_list(client: TestClient, accept: str, query: str) -> None:
    answer = client.post(f"/v1/segment{query}", content=PNG, headers={"Accept": accept})
    assert "is available as image/png" in problem(answer, 406, "not-acceptable")


def test_images_that_are_none(client: TestClient) -> None:
    problem(client.post("/v1/segment", content=b""), 400, "bad-image")
    problem(client.post("/v1/segment", content=PNG[:-30]), 400, "bad-image")
    problem(client.post("/v1/segment", content=b"hello"), 415, "unsupported-type")
    problem(client.post("/v1/segment", files={"image": b"hello"}), 415, "unsupported-type")


def test_too_many_pixels_are_a_413_with_the_figure(client: TestClient) -> None:
    big = cv2.imencode(".png", np.zeros((100, 101, 3), np.uint8))[1].tobytes()
    assert "101 x 100 = 10100 pixels" in problem(client.post("/v1/segment", content=big), 413, "too-large")


def test_a_body_beyond_the_limit_is_refused_by_its_length(client: TestClient) -> None:
    answer = client.post("/v1/segment", content=bytes(100_001))
    assert "100001 bytes" in problem(answer, 413, "too-large")
    answer = client.post("/v2/models/tiny/infer", content=bytes(100_001))
    assert answer.status_code == 413
    assert "100001 bytes" in answer.json()["error"]


def test_a_body_without_a_length_is_refused_while_it_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is thrown away, up to a bound, before the connection is closed."""
    monkeypatch.setattr(middleware, "LINGER_BYTES", 5_000)
    pulled = 0

    async def receive() -> Message:
        nonlocal pulled
        pulled += 1
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    sent: list[tuple[int, Message]] = []

    async def send(message: Message) -> None:
        sent.append((pulled, message))

    async def greedy(scope: Any, receive: Any, send: Any) -> None:
        """Reads on whatever happens, and answers 500 to every exception, as BentoML's API methods do."""
        try:
            while (await receive())["more_body"]:
                pass
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"oops"})

    asyncio.run(BodyLimit(greedy, 10_000)({"type": "http", "path": "/v1/segment", "headers": []}, receive, send))
    assert [(at, m["status"]) for at, m in sent if m["type"] == "http.response.start"] == [(11, 413)]
    assert [at for at, m in sent if m["type"] == "http.response.body" and not m.get("more_body")] == [16]
    assert pulled == 16


def test_text_in_the_file_field_is_refused_and_fetches_nothing(client: TestClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.setblocking(False)
        address = f"http://127.0.0.1:{bait.getsockname()[1]}/frame.jpg"
        form = client.post("/v1/segment", files={"image": (None, address)})
        assert "fetches no addresses" in problem(form, 422, "bad-parameter")
        assert "fetches nothing" in problem(client.post("/v1/segment", content=address), 415, "unsupported-type")
        with pytest.raises(BlockingIOError):
            bait.accept()


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "multipart/form-data"}, b""),
        (BOUNDARY, b""),
        (BOUNDARY, b"--x\r\nnonsense"),
        (BOUNDARY, b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"),
        (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\ntrain\r\n--x--'),
        (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + PNG[:50]),
        (
            {"Content-Type": "multipart/form-data; boundary=x; charset=nonsense"},
            b'--x\r\nContent-Disposition: form-data; name="ids"\r\n\r\n\xff\r\n--x--',
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"},
            b'--x\r\nContent-Disposition: form-data; name="\\ud800"\r\n\r\n\\ud800\r\n--x--',
        ),
    ],
)
def test_broken_forms_are_the_clients_mistake(client: TestClient, headers: dict[str, str], body: bytes) -> None:
    answer = client.post("/v1/segment", content=body, headers=headers)
    assert answer.status_code in (400, 415, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200) | st.just(PNG),
    st.dictionaries(st.sampled_from(["ids", "render", "size", "include", "x"]), st.text(max_size=5), max_size=2),
    st.sampled_from(
        ["", "image/png", "multipart/form-data; boundary=a", 'multipart/form-data; boundary="', "text/plain", ";;"]
    ),
    st.sampled_from(["*/*", "image/*;q=0.1", ",;,", "application/json", "q=1", "image/png;q="]),
)
def test_nothing_a_client_sends_is_a_server_error(
    client: TestClient, body: bytes, query: dict[str, str], content_type: str, accept: str
) -> None:
    headers = {"Content-Type": content_type, "Accept": accept}
    assert client.post("/v1/segment", content=body, params=query, headers=headers).status_code < 500


def test_paths_and_methods_that_are_not_there(client: TestClient) -> None:
    problem(client.get("/v1/nothing"), 404, "not-found")
    assert client.get("/v1/segment").headers["allow"] == "POST"
    problem(client.get("/v1/segment"), 405, "method-not-allowed")


def test_an_app_without_its_segmenter_says_so() -> None:
    with TestClient(create_app()) as loading:
        answer = loading.post("/v1/segment", content=PNG)
        assert "still loading" in problem(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_client_that_hangs_up_takes_its_queued_work_with_it(tiny_bundle: Path) -> None:
    class Endless:
        def __init__(self) -> None:
            self.cancelled = False
            self.metrics = Segmenter(open_bundle(tiny_bundle)).metrics

        async def segment_encoded(self, data: bytes, **options: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    async def messages() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": PNG, "more_body": False}
        await asyncio.sleep(0.01)
        yield {"type": "http.disconnect"}

    async def main() -> None:
        endless, source = Endless(), messages()
        scope = {"type": "http", "method": "POST", "headers": [], "query_string": b"", "path": "/"}
        response = await answer(Request(scope, lambda: anext(source)), endless)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert response.status_code == 499
        assert endless.cancelled

    asyncio.run(main())
