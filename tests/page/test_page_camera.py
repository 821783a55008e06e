"""A camera that doesn't come, or goes away, and the picture that was there before it."""

import re
from pathlib import Path

from helpers.chromium import FLAGS, find_chromium
from helpers.page import Shoot, Visit, segmented
from helpers.serving import Server
from playwright.sync_api import Browser, Page, expect


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


def test_a_camera_whose_permission_is_taken_back_says_so(browser: Browser, server: Server, shoot: Shoot) -> None:
    """In a Chromium of its own: the shared one gives the camera to whoever asks, and can't take it back."""
    flags = [flag for flag in FLAGS if flag != "--use-fake-ui-for-media-stream"]
    with browser.browser_type.launch(executable_path=find_chromium(), args=flags) as asking:
        context = asking.new_context(permissions=["camera"])
        page = context.new_page()
        page.goto(server.http_url + "/")
        start_camera(page)
        expect(page.locator("#live")).to_be_visible()
        context.clear_permissions()
        expect(page.locator("#problem-title")).to_have_text("The camera stopped")
        expect(page.locator("#problem-detail")).to_contain_text("allow it again")
        expect(page.locator("#stage")).to_have_attribute("data-state", "result")
        expect(page.locator("#live")).to_be_hidden()
        shoot(page, "camera-stopped")
        assert saved_as(page) == "camera-labels.png"
        context.grant_permissions(["camera"])
        start_camera(page)
        expect(page.locator("#live")).to_be_visible()
        expect(page.locator("#problem")).to_be_hidden()
