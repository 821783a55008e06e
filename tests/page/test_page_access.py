"""The page for everybody: keyboard, names for screen readers, both schemes, a phone."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.page import HEIGHT, WIDTH, Pixels, Shoot, Visit, canvas_pixels, segmented, tab_to, wait_for_result
from playwright.sync_api import expect


def test_everything_can_be_done_with_the_keyboard(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = visit()
    tab_to(page, "[data-action=open]")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo_file)
    wait_for_result(page)
    expect(page.locator("#announce")).to_have_text(re.compile(r"blocks\.png took \d+ milliseconds: .+ percent"))
    tab_to(page, "#canvas")
    for key in ("ArrowRight", "Shift+ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    x, y = WIDTH // 2 + 2, HEIGHT // 2 + 24 - 2
    expect(page.locator("#announce")).to_contain_text(f"train id {label_map[y, x]} \u00b7 x {x}, y {y}")
    page.keyboard.press("Escape")
    expect(page.locator("#readout")).to_be_hidden()
    tab_to(page, "#opacity")
    before = canvas_pixels(page)
    page.keyboard.press("Home")
    assert not np.array_equal(canvas_pixels(page), before)
    tab_to(page, "#legend button")
    page.keyboard.press("Space")
    expect(page.locator("#legend button").first).to_have_attribute("aria-pressed", "false")


def test_everything_has_a_name(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input:not([hidden]), canvas")].filter((one) =>
           !(one.textContent.trim() || one.ariaLabel || one.labels?.length || one.querySelector("img[alt]")?.alt)
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []


CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const paper = light(style.getPropertyValue("--paper"));
  return ["--ink", "--muted", "--alarm", "--focus"].map((name) => {
    const ink = light(style.getPropertyValue(name));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_can_be_read(visit: Visit, scheme: str, shoot: Shoot) -> None:
    page = visit(color_scheme=scheme)
    shoot(page, f"empty-{scheme}")
    paper = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (int(paper[0]) < 64) == (scheme == "dark")
    assert min(page.evaluate(CONTRAST)) >= 4.5
    page.locator("#samples button").first.click()
    wait_for_result(page)
    shoot(page, f"result-{scheme}")


def test_a_phone_needs_no_sideways_scrolling(visit: Visit, shoot: Shoot) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    shoot(page, "phone-empty")
    page.locator("#samples button").last.tap()
    wait_for_result(page)
    page.locator("#canvas").tap()
    expect(page.locator("#readout-text")).to_have_text(re.compile("train id"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    shoot(page, "phone-result")


BUSY = """() => {
  document.getElementById("stage").dataset.state = "busy";
  document.getElementById("frame").hidden = false;
  return document.getAnimations().length;
}"""


def test_nothing_moves_where_motion_is_unwanted(visit: Visit) -> None:
    assert visit().evaluate(BUSY) > 0
    page = visit(reduced_motion="reduce")
    assert page.evaluate(BUSY) == 0
    expect(page.locator("#busy")).to_be_visible()
