"""Whatever comes late: the page shows what was asked for last."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.page import Pixels, Visit, canvas_pixels, choose, segmented, set_opacity, wait_for_result
from playwright.sync_api import Page, Route, expect

from adaptseg_serve.labels import CITYSCAPES

LABEL = re.compile(r"Label map of blocks\.png: \w")
TREES = "[data-sample='samples/trees.jpg']"


def held(page: Page, address: str) -> list[Route]:
    """Requests for it get no answer before the test lets them go on. Samples are cached from their thumbnails."""
    page.evaluate(
        """(address) => {
          const fetched = window.fetch;
          window.fetch = (path, options) =>
            fetched(path, path.includes(address) ? { ...options, cache: "reload" } : options);
        }""",
        address,
    )
    routes: list[Route] = []
    page.route(f"**/{address}*", lambda route: routes.append(route))
    return routes


def waited_for(page: Page, routes: list[Route]) -> Route:
    for _ in range(200):
        if routes:
            return routes.pop()
        page.wait_for_timeout(50)
    raise AssertionError("the page never asked")


def let_go(page: Page, route: Route) -> None:
    """The page may have given the request up."""
    route.continue_()
    page.wait_for_timeout(500)


def test_a_late_sample_leaves_a_newer_picture(visit: Visit, photo_file: Path) -> None:
    page = visit()
    routes = held(page, "samples/trees.jpg")
    page.locator(TREES).click()
    late = waited_for(page, routes)
    choose(page, photo_file)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", LABEL)
    let_go(page, late)
    wait_for_result(page)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", LABEL)
    expect(page.locator(TREES)).not_to_have_attribute("aria-pressed", "true")
    expect(page.locator("#problem")).to_be_hidden()


def test_a_late_sample_leaves_a_camera_that_was_begun_after_it(visit: Visit) -> None:
    page = visit()
    routes = held(page, "samples/trees.jpg")
    page.locator(TREES).click()
    late = waited_for(page, routes)
    page.locator("[data-action=camera]:visible").click()
    expect(page.locator("#live")).to_be_visible()
    let_go(page, late)
    expect(page.locator("#live")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


def test_a_camera_has_no_controls_while_the_sample_after_it_comes(visit: Visit) -> None:
    page = visit()
    page.locator("[data-action=camera]:visible").click()
    expect(page.locator("#live")).to_be_visible()
    routes = held(page, "samples/trees.jpg")
    page.locator(TREES).click()
    expect(page.locator("#live-controls")).to_be_hidden()
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "true")
    waited_for(page, routes).continue_()
    expect(page.locator(TREES)).to_have_attribute("aria-pressed", "true")
    wait_for_result(page)


@pytest.mark.parametrize("begun", ["empty", "result"])
def test_a_sample_that_is_missing_can_be_asked_for_again(visit: Visit, photo_file: Path, begun: str) -> None:
    page = visit(refusals=True)
    if begun == "result":
        segmented(page, photo_file)
    routes = held(page, "samples/trees.jpg")
    page.locator(TREES).click()
    waited_for(page, routes).abort()
    expect(page.locator("#problem-title")).to_have_text("The sample is missing: trees.jpg")
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    page.locator("#retry").click()
    waited_for(page, routes).continue_()
    expect(page.locator(TREES)).to_have_attribute("aria-pressed", "true")
    wait_for_result(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_confidence_wanted_while_a_picture_is_under_way_comes_with_it(visit: Visit, photo_file: Path) -> None:
    page = visit()
    page.locator(TREES).click()
    wait_for_result(page)
    routes = held(page, "v1/segment")
    choose(page, photo_file)
    first = waited_for(page, routes)
    page.locator("#confidence").click()
    first.continue_()
    second = waited_for(page, routes)
    assert second.request.url.endswith("?include=confidence")
    second.continue_()
    expect(page.locator("#confidence-legend")).to_be_visible()
    expect(page.locator("#canvas")).to_have_attribute("aria-label", LABEL)
    assert routes == []


def test_confidence_wanted_while_a_sample_comes_leaves_the_picture_before_it(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    routes = held(page, "samples/trees.jpg")
    page.locator(TREES).click()
    sample = waited_for(page, routes)
    page.locator("#confidence").click()
    sample.continue_()
    expect(page.locator(TREES)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#confidence-legend")).to_be_visible()


@pytest.mark.parametrize("halt", ["#pause", "#stop"])
def test_confidence_wanted_just_before_a_halt_still_comes(visit: Visit, halt: str) -> None:
    page = visit()
    page.locator("[data-action=camera]:visible").click()
    expect(page.locator("#live")).to_be_visible()
    routes = held(page, "v1/segment")
    last = waited_for(page, routes)
    page.locator("#confidence").click()
    page.locator(halt).click()
    page.route("**/v1/segment*", lambda route: route.continue_())  # all that is asked from here on
    for route in [last, *routes]:
        route.continue_()
    expect(page.locator("#confidence-legend")).to_be_visible()


DECODE_SLOWLY = """() => {
  const fetched = window.fetch;
  window.fetch = async (path, options) => {
    const response = await fetched(path, options);
    if (!path.includes("v1/segment")) return response;
    window.fetch = fetched;
    const body = await response.arrayBuffer();
    response.arrayBuffer = () => new Promise((resolve) => setTimeout(() => resolve(body), 1500));
    document.documentElement.dataset.late = "";
    return response;
  };
}"""
"""The next answer: as if its decoding, which no abort ends, took long."""


@pytest.mark.parametrize("asked", ["picture", "frame"])
def test_a_late_answer_leaves_a_newer_picture(visit: Visit, photo_file: Path, label_map: Pixels, asked: str) -> None:
    page = visit()
    if asked == "frame":
        page.locator("[data-action=camera]:visible").click()
        expect(page.locator("#live")).to_be_visible()
        page.locator("#stop").click()
        page.evaluate(DECODE_SLOWLY)
        page.locator("#confidence").click()
    else:
        page.evaluate(DECODE_SLOWLY)
        page.locator(TREES).click()
    page.wait_for_selector("html[data-late]")
    if asked == "frame":
        page.locator("#confidence").click()  # not wanted any more
    choose(page, photo_file)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", LABEL)
    page.wait_for_timeout(2000)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", LABEL)
    set_opacity(page, 100)
    np.testing.assert_array_equal(canvas_pixels(page), CITYSCAPES.palette()[label_map])
