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
)
from playwright.sync_api import expect

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
