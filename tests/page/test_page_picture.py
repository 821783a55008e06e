"""The picture: a photo and its label map, class by class."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.page import (
    HEIGHT,
    WIDTH,
    Pixels,
    Visit,
    canvas_pixels,
    click_pixel,
    segmented,
    set_opacity,
    wait_for_result,
)
from playwright.sync_api import Route, expect

from adaptseg_serve.labels import CITYSCAPES


def test_at_full_strength_the_canvas_is_the_label_map(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    np.testing.assert_array_equal(canvas_pixels(page), CITYSCAPES.palette()[label_map])


def test_the_slider_mixes_photo_and_labels(visit: Visit, photo_file: Path, photo: Pixels, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    colors = CITYSCAPES.palette()[label_map]
    for percent in (0, 40):
        set_opacity(page, percent)
        expected = photo + (colors.astype(float) - photo) * percent / 100
        assert np.abs(canvas_pixels(page) - expected).max() <= 2


def test_a_class_that_is_switched_off_shows_the_photo(
    visit: Visit, photo_file: Path, photo: Pixels, label_map: Pixels
) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    largest = int(np.bincount(label_map.ravel()).argmax())
    row = page.locator(f"#legend [data-train-id='{largest}']")
    row.click()
    expect(row).to_have_attribute("aria-pressed", "false")
    colors = CITYSCAPES.palette()[label_map]
    expected = np.where((label_map == largest)[..., None], photo, colors)
    np.testing.assert_array_equal(canvas_pixels(page), expected)
    page.locator("#hide-all").click()
    np.testing.assert_array_equal(canvas_pixels(page), photo)
    page.locator("#show-all").click()
    np.testing.assert_array_equal(canvas_pixels(page), colors)


def test_pointing_at_a_class_dims_the_others(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    largest = int(np.bincount(label_map.ravel()).argmax())
    page.locator(f"#legend [data-train-id='{largest}']").hover()
    same = (canvas_pixels(page) == CITYSCAPES.palette()[label_map]).all(axis=-1)
    assert same[label_map == largest].all()
    assert not same[label_map != largest].all()


def test_a_spotlight_that_is_left_before_the_label_map_comes_goes(
    visit: Visit, photo_file: Path, label_map: Pixels
) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    page.locator("#legend .row:visible").first.hover()
    held: list[Route] = []
    page.route("**/v1/segment", lambda route: held.append(route))
    page.set_input_files("#file", photo_file)
    expect(page.locator("#stage")).to_have_attribute("data-state", "busy")
    page.mouse.move(0, 0)
    page.wait_for_timeout(200)  # the request comes to the test
    held.pop().continue_()
    wait_for_result(page)
    np.testing.assert_array_equal(canvas_pixels(page), CITYSCAPES.palette()[label_map])


def test_a_spotlight_goes_with_its_class(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    """The service was given another bundle, which doesn't know the class that is pointed at."""
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    row = page.locator("#legend .row:visible").last
    train_id = int(row.get_attribute("data-train-id") or "")
    row.hover()

    def forget(route: Route) -> None:
        labels = route.fetch().json()
        labels["classes"] = [one for one in labels["classes"] if one["train_id"] != train_id]
        route.fulfill(json=labels)

    def rename(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, headers=answer.headers | {"x-model-version": "another"})

    page.route("**/v1/labels", forget)
    page.route("**/v1/segment", rename)
    page.set_input_files("#file", photo_file)
    expect(page.locator(f"#legend [data-train-id='{train_id}']")).to_have_count(0)
    palette = CITYSCAPES.palette()
    palette[train_id] = 0
    np.testing.assert_array_equal(canvas_pixels(page), palette[label_map])


def test_clicking_a_pixel_names_its_class(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    for x, y in [(3, 5), (120, 90), (WIDTH - 2, HEIGHT - 3)]:
        click_pixel(page, x, y)
        train_id = int(label_map[y, x])
        told = f"{CITYSCAPES.names[train_id]} \u00b7 train id {train_id} \u00b7 x {x}, y {y}"
        expect(page.locator("#readout-text")).to_have_text(told)
        expect(page.locator("#announce")).to_have_text(told)
        expect(page.locator("#probe")).to_be_visible()


DECODE = """async (address) => {
  const { decodePalettePng } = await import("./png.js");
  const bytes = Uint8Array.from(atob(address), (one) => one.charCodeAt(0));
  const { width, height, ids } = await decodePalettePng(bytes.buffer);
  return { width, height, ids: [...ids] };
}"""


@pytest.mark.parametrize("strategy", ["none", "sub", "up", "average", "paeth"])
def test_png_filters_are_undone(visit: Visit, strategy: str) -> None:
    """OpenCV writes the rows with each of PNG's filters; the page reads the numbers back."""
    ids = np.random.default_rng(3).integers(0, 256, (9, 14), np.uint8)
    ids[2:6] = 7
    flag = getattr(cv2, f"IMWRITE_PNG_FILTER_{'AVG' if strategy == 'average' else strategy.upper()}")
    encoded = cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_FILTER, flag])[1].tobytes()
    palettized = bytearray(encoded)
    palettized[25] = 3  # The colour type: the same bytes as indices. The page checks no CRC, as it trusts its server.
    found = visit().evaluate(DECODE, base64.b64encode(palettized).decode())
    assert (found["height"], found["width"]) == ids.shape
    np.testing.assert_array_equal(found["ids"], ids.ravel())
