"""What stands beside the picture: the legend, the timing, the model's card, and what can be saved."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helpers.page import HEIGHT, WIDTH, Pixels, Visit, ask, change_card, segmented
from helpers.serving import Server
from PIL import Image
from playwright.sync_api import expect

from adaptseg_serve.labels import CITYSCAPES


def test_the_legend_gives_each_class_its_share(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    shown = [text for text in page.locator("#legend .share:visible").all_inner_texts() if text != "\u2013"]
    shares = [float(text.removesuffix(" %").removeprefix("< ")) for text in shown]
    counts = np.bincount(label_map.ravel(), minlength=len(CITYSCAPES))
    np.testing.assert_allclose(shares, sorted(100 * counts[counts > 0] / label_map.size, reverse=True), atol=0.11)
    assert sum(shares) == pytest.approx(100, abs=1)


def test_the_timing_adds_up(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    assert page.locator("#timing-stages dt").all_inner_texts() == ["decode", "queue", "infer", "encode", "network"]
    stages = [float(text.removesuffix(" ms")) for text in page.locator("#timing-stages dd").all_inner_texts()]
    assert sum(stages) == pytest.approx(float(page.inner_text("#timing-total")), abs=2)


def test_the_card_describes_the_model(visit: Visit, server: Server) -> None:
    card = visit().inner_text("#model")
    with urllib.request.urlopen(server.http_url + "/v1/models", timeout=10) as answer:
        model = json.load(answer)["models"][0]
    for said in (model["name"], model["version"], "64 \u00d7 48 pixels", "19, cityscapes", model["runtime"]):
        assert said in card


def test_another_bundle_is_noticed(visit: Visit, photo_file: Path) -> None:
    page = visit()
    change_card(page, lambda card: card.update(name="earlier", version="an earlier one"))
    expect(page.locator("#serving-text")).to_have_text("earlier \u00b7 an earlier one")
    page.unroute("**/v1/models")
    segmented(page, photo_file)
    expect(page.locator("#serving-text")).to_contain_text("tiny")
    expect(page.locator("#model-name")).to_have_text("tiny")
    expect(page.locator("#legend .share").first).to_contain_text("%")


def test_saved_labels_are_the_bytes_of_the_service(
    visit: Visit, photo_file: Path, server: Server, tmp_path: Path
) -> None:
    page = segmented(visit(), photo_file)
    with page.expect_download() as download:
        page.locator("#save-labels").click()
    assert download.value.suggested_filename == "blocks-labels.png"
    assert download.value.path().read_bytes() == ask(server, photo_file, "image/png")
    with page.expect_download() as download:
        page.locator("#save-overlay").click()
    with Image.open(download.value.path()) as overlay:
        assert overlay.size == (WIDTH, HEIGHT)
