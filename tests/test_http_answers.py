"""What the HTTP door answers: formats, renderings, sizes, headers, and what it says of itself."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.http_door import FRAME, PNG, http_door, ids_of
from PIL import Image
from starlette.testclient import TestClient

from adaptseg_serve.bundle import Bundle, open_bundle


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[TestClient]:
    with http_door(tiny_bundle) as running:
        yield running


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


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
