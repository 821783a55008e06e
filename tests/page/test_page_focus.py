"""The keyboard's focus: a control that goes as it is pressed, or by itself, hands it to the picture or its place."""

from pathlib import Path

from helpers.page import Visit, choose, segmented, wait_for_result
from playwright.sync_api import Page, expect

TREES = "[data-sample='samples/trees.jpg']"


def press(page: Page, selector: str) -> None:
    page.locator(f"{selector}:visible").press("Enter")


def expect_focus(page: Page, selector: str) -> None:
    """Browsers take focus from what is hidden only when they draw next."""
    page.wait_for_timeout(200)
    expect(page.locator(selector)).to_be_focused(timeout=2000)


def answer(page: Page, status: int) -> None:
    page.route("**/v1/segment*", lambda route: route.fulfill(status=status, body="{}"))


def test_closing_a_problem_keeps_the_focus(visit: Visit, photo_file: Path) -> None:
    page = visit(refusals=True)
    answer(page, 500)
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('no')); }")
    press(page, "[data-action=camera]")
    expect(page.locator("#problem")).to_be_visible()
    press(page, "#dismiss")
    expect(page.locator("#problem")).to_be_hidden()
    expect_focus(page, "#stage")
    choose(page, photo_file)
    expect(page.locator("#problem")).to_be_visible()
    press(page, "#dismiss")
    expect_focus(page, "#canvas")


def test_trying_again_keeps_the_focus(visit: Visit) -> None:
    page = visit(refusals=True)
    answer(page, 503)
    page.locator(TREES).click()
    expect(page.locator("#problem")).to_be_visible()
    page.unroute("**/v1/segment*")
    press(page, "#retry")
    wait_for_result(page)
    expect_focus(page, "#canvas")


def test_an_invitation_that_is_followed_keeps_the_focus(visit: Visit, photo_file: Path) -> None:
    page = visit()
    with page.expect_file_chooser() as chooser:
        press(page, "[data-action=open]")
    chooser.value.set_files(photo_file)
    wait_for_result(page)
    expect_focus(page, "#canvas")
    page.reload()
    press(page, "[data-action=camera]")
    expect(page.locator("#live")).to_be_visible()
    expect_focus(page, "#canvas")
    press(page, "#stop")
    wait_for_result(page)
    expect_focus(page, "#canvas")


def test_a_live_source_that_ends_by_itself_keeps_the_focus(visit: Visit) -> None:
    page = visit(refusals=True)
    press(page, "[data-action=camera]")
    expect(page.locator("#live")).to_be_visible()
    page.locator("#pause").focus()
    answer(page, 500)
    expect(page.locator("#problem")).to_be_visible()
    expect_focus(page, "#canvas")


def test_focus_elsewhere_stays_where_it_is(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    press(page, TREES)
    expect(page.locator(TREES)).to_have_attribute("aria-pressed", "true")
    wait_for_result(page)
    expect_focus(page, TREES)
