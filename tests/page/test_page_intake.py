"""How pictures come in, whatever their format and size, and what is said of those that can't."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helpers.page import (
    HEIGHT,
    WIDTH,
    Pixels,
    Visit,
    ask,
    canvas_pixels,
    change_card,
    choose,
    segmented,
    set_opacity,
    wait_for_result,
)
from helpers.serving import Server
from PIL import Image
from playwright.sync_api import expect

PUT = """([kind, address]) => fetch(address).then((answer) => answer.blob()).then((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], "put.jpg", { type: "image/jpeg" }));
  document.dispatchEvent(kind === "drop" ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
                                         : new ClipboardEvent("paste", { clipboardData: data }));
})"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_images_can_be_dropped_and_pasted(visit: Visit, kind: str) -> None:
    page = visit()
    page.evaluate(PUT, [kind, "samples/highway.jpg"])
    wait_for_result(page)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"Label map of put\.jpg: \w"))


def test_every_sample_works(visit: Visit) -> None:
    page = visit()
    samples = page.locator("#samples button")
    assert samples.count() >= 2
    for i in range(samples.count()):
        samples.nth(i).click()
        expect(samples.nth(i)).to_have_attribute("aria-pressed", "true")
        wait_for_result(page)
        assert samples.nth(i).locator("img").get_attribute("alt")


def test_a_photo_on_its_side_is_shown_upright(visit: Visit, photo: Pixels, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    Image.fromarray(photo).save(path, exif=exif, quality=95)
    page = segmented(visit(), path)
    set_opacity(page, 0)
    shown = canvas_pixels(page)
    assert shown.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(shown.astype(int) - np.rot90(photo, -1)).mean() < 8


def test_other_formats_are_converted_in_the_browser(visit: Visit, photo: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "photo.webp"
    Image.fromarray(photo).save(path)
    assert canvas_pixels(segmented(visit(), path)).shape == photo.shape


def test_a_photo_beyond_the_limits_is_scaled(visit: Visit, photo_file: Path) -> None:
    page = visit()
    change_card(page, lambda card: card["input"].update(max_pixels=10_000))
    height, width, _ = canvas_pixels(segmented(page, photo_file)).shape
    assert 9_000 < height * width <= 10_000
    assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.02)


def test_a_file_that_is_no_image_says_why(visit: Visit, server: Server, photo_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo_file.read_bytes()[:60])
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, broken, "image/png")
    with refused.value as answer:
        problem = json.load(answer)
    page = visit(refusals=True)
    choose(page, broken)
    expect(page.get_by_role("alert")).to_contain_text(problem["detail"])
    expect(page.locator("#problem-title")).to_have_text(f"{problem['title']}: broken.png")
    expect(page.locator("#invitation")).to_be_visible()
    page.locator("#dismiss").click()
    expect(page.locator("#problem")).to_be_hidden()
    segmented(page, photo_file)


def test_a_busy_service_can_be_asked_again(visit: Visit, photo_file: Path) -> None:
    page = visit(refusals=True)
    problem = json.dumps({"title": "Busy", "detail": "The queue is full."})
    page.route("**/v1/segment", lambda route: route.fulfill(status=503, body=problem))
    choose(page, photo_file)
    expect(page.locator("#problem-detail")).to_have_text("The queue is full.")
    page.unroute("**/v1/segment")
    page.locator("#retry").click()
    wait_for_result(page)
    expect(page.locator("#problem")).to_be_hidden()
