"""Where the model is unsure: the map in its colours, what the probe says of a pixel, and the labels as before."""

import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helpers.page import (
    HEIGHT,
    WIDTH,
    Pixels,
    Shoot,
    Visit,
    ask,
    canvas_pixels,
    click_pixel,
    segmented,
    set_opacity,
    tab_to,
)
from helpers.serving import Server
from playwright.sync_api import Page, expect

from adaptseg_serve.labels import CITYSCAPES

RAMP = np.array([[255, 236, 130], [190, 55, 85], [18, 20, 60]], float)
"""The colours of the confidences 0, 1/2 and 1."""


@pytest.fixture(scope="module")
def confidence(photo_file: Path, server: Server) -> Pixels:
    """(HEIGHT, WIDTH) uint8, 255 for 1: by another format than the page takes."""
    headers = {"Accept": "application/octet-stream", "Content-Type": "image/png"}
    url = server.http_url + "/v1/segment?include=confidence"
    with urllib.request.urlopen(urllib.request.Request(url, photo_file.read_bytes(), headers), timeout=30) as answer:
        values: Pixels = np.frombuffer(answer.read(), np.uint8).reshape(2, HEIGHT, WIDTH)[1]
    return values


def with_confidence(page: Page) -> Page:
    with page.expect_response("**/v1/segment?include=confidence"):
        tab_to(page, "#confidence")
        page.keyboard.press("Space")
    page.wait_for_selector("#stage[data-state=result]")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_confidence_has_its_colours(
    visit: Visit, photo_file: Path, label_map: Pixels, confidence: Pixels, scheme: str, shoot: Shoot
) -> None:
    assert np.ptp(confidence) > 20, "the confidence varies too little to test anything"
    page = with_confidence(segmented(visit(color_scheme=scheme), photo_file))
    expect(page.get_by_role("button", name="Confidence", pressed=True)).to_be_visible()
    expect(page.locator("#confidence-legend")).to_be_visible()
    set_opacity(page, 100)
    expected = np.stack([np.interp(confidence / 255, [0, 0.5, 1], RAMP[:, i]) for i in range(3)], axis=-1)
    assert np.abs(canvas_pixels(page) - expected).max() <= 1
    shoot(page, f"confidence-{scheme}")
    page.locator("#confidence").click()
    np.testing.assert_array_equal(canvas_pixels(page), CITYSCAPES.palette()[label_map])
    expect(page.locator("#confidence-legend")).to_be_hidden()


def test_the_probe_says_how_sure_the_model_is(visit: Visit, photo_file: Path, confidence: Pixels) -> None:
    page = with_confidence(segmented(visit(), photo_file))
    for x, y in [(3, 5), (120, 90)]:
        click_pixel(page, x, y)
        told = f"x {x}, y {y} \u00b7 {int(100 * int(confidence[y, x]) / 255 + 0.5)} percent sure"
        expect(page.locator("#readout-text")).to_contain_text(told)
        expect(page.locator("#announce")).to_contain_text(told)


def test_labels_saved_beside_the_confidence_are_the_same(visit: Visit, photo_file: Path, server: Server) -> None:
    page = with_confidence(segmented(visit(), photo_file))
    with page.expect_download() as download:
        page.locator("#save-labels").click()
    assert download.value.path().read_bytes() == ask(server, photo_file, "image/png")


def test_classes_are_hidden_and_step_back_in_the_confidence_too(
    visit: Visit, photo_file: Path, label_map: Pixels, photo: Pixels
) -> None:
    page = with_confidence(segmented(visit(), photo_file))
    set_opacity(page, 100)
    before = canvas_pixels(page)
    one = int(np.bincount(label_map.ravel()).argmax())
    row = page.locator(f"#legend button[data-train-id='{one}']")
    row.click()
    page.mouse.move(1, 1)
    after = canvas_pixels(page)
    np.testing.assert_array_equal(after[label_map == one], photo[label_map == one])
    np.testing.assert_array_equal(after[label_map != one], before[label_map != one])
    row.click()
    row.hover()
    spotlit = canvas_pixels(page)
    np.testing.assert_array_equal(spotlit[label_map == one], before[label_map == one])
    assert (spotlit[label_map != one] != before[label_map != one]).any(axis=-1).mean() > 0.5


def test_the_slider_says_what_it_mixes(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 40)
    expect(page.locator("#opacity")).to_have_attribute("aria-valuetext", "40 percent labels")
    with_confidence(page)
    expect(page.locator("#opacity")).to_have_attribute("aria-valuetext", "40 percent confidence")
    expect(page.locator("#mix-over")).to_have_text("Confidence")
    page.locator("#confidence").click()
    expect(page.locator("#opacity")).to_have_attribute("aria-valuetext", "40 percent labels")
