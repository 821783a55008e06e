"""A camera that doesn't come, or goes away, and the picture that was there before it."""

import re
from pathlib import Path

from helpers.page import Visit, segmented
from playwright.sync_api import Page, expect


def start_camera(page: Page) -> None:
    page.locator("[data-action=camera]:visible").click()


def saved_as(page: Page) -> str:
    with page.expect_download() as download:
        page.locator("#save-labels").click()
    return str(download.value.suggested_filename)


def deny(page: Page) -> None:
    page.evaluate("""() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    }""")


def test_a_picture_keeps_its_name_where_no_camera_comes(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    deny(page)
    start_camera(page)
    expect(page.locator("#problem-title")).to_have_text("The camera can't be used")
    assert saved_as(page) == "blocks-labels.png"


def test_a_picture_keeps_its_name_where_no_frame_is_answered(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(refusals=True), photo_file)
    page.route("**/v1/segment", lambda route: route.fulfill(status=500, body="{}"))
    start_camera(page)
    expect(page.locator("#problem")).to_be_visible()
    assert saved_as(page) == "blocks-labels.png"
    page.unroute("**/v1/segment")
    with page.expect_response("**/v1/segment?include=confidence"):
        page.locator("#confidence").click()
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"Label map of blocks\.png: \w"))
    expect(page.locator("#confidence-legend")).to_be_visible()


def test_a_camera_has_its_name_from_the_first_frame_on(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    start_camera(page)
    expect(page.locator("#live")).to_be_visible()
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    page.locator("#stop").click()
    assert saved_as(page) == "camera-labels.png"


def test_an_empty_stage_waits_no_more_where_no_camera_comes(visit: Visit) -> None:
    page = visit()
    deny(page)
    start_camera(page)
    expect(page.locator("#problem-title")).to_have_text("The camera can't be used")
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#invitation")).to_be_visible()
