"""A picture that gets no label map: nothing of the one before it stands beside it, and what to do is said."""

import json
import re
from pathlib import Path

from helpers.page import Shoot, Visit, segmented, wait_for_result
from playwright.sync_api import Page, expect

TREES = "[data-sample='samples/trees.jpg']"


def fail(page: Page) -> None:
    problem = json.dumps({"title": "Busy", "detail": "The queue is full."})
    page.route("**/v1/segment", lambda route: route.fulfill(status=503, body=problem))


def test_nothing_of_the_picture_before_stands_beside_one_that_failed(
    visit: Visit, photo_file: Path, shoot: Shoot
) -> None:
    page = segmented(visit(refusals=True), photo_file)
    fail(page)
    page.locator(TREES).click()
    expect(page.locator("#problem-title")).to_have_text("Busy: trees.jpg")
    expect(page.locator("#stage")).to_have_attribute("data-state", "photo")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", "trees.jpg, no label map yet")
    expect(page.locator("#timing")).to_be_hidden()
    assert "".join(page.locator("#legend .share").all_text_contents()) == ""
    for fill in page.locator("#legend .fill").all():
        expect(fill).to_have_css("width", "0px")
    shoot(page, "failed")
    page.unroute("**/v1/segment")
    page.locator("#retry").click()
    wait_for_result(page)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"Label map of trees\.jpg: \w"))
    expect(page.locator("#timing")).to_be_visible()
    expect(page.locator("#legend .share").first).to_contain_text("%")


def test_the_time_goes_while_the_next_picture_is_awaited_but_keeps_its_place(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    page.locator("[data-sample='samples/highway.jpg']").click()
    wait_for_result(page)
    place = page.locator("#model").bounding_box()
    page.route("**/v1/segment", lambda route: None)
    page.locator("[data-sample='samples/highway.jpg']").click()
    expect(page.locator("#timing")).to_be_hidden()
    assert page.locator("#model").bounding_box() == place
