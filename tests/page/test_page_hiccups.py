"""A live source outlives a lost connection or a late answer. What lasts ends it, and can be tried again."""

import re

import pytest
from helpers.page import Visit, wait_for_result
from playwright.sync_api import Page, Route, expect

RUNNING = re.compile(r"[1-9][\d.]* frames/s")


def start_camera(page: Page) -> None:
    page.locator("[data-action=camera]:visible").click()
    expect(page.locator("#live-text")).to_have_text(RUNNING)


def fail(page: Page, status: int) -> list[Route]:
    """-> what was asked since; status 0: the connection is lost."""
    asked: list[Route] = []

    def refuse(route: Route) -> None:
        asked.append(route)
        if status:
            route.fulfill(status=status, body="{}")
        else:
            route.abort()

    page.route("**/v1/segment*", refuse)
    return asked


def wait_until_asked(page: Page, asked: list[Route], times: int) -> None:
    for _ in range(200):
        if len(asked) >= times:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"asked {len(asked)} times, expected {times}")


@pytest.mark.parametrize("status", [0, 429, 504])
def test_a_hiccup_ends_no_live_source(visit: Visit, status: int) -> None:
    page = visit(refusals=True)
    start_camera(page)
    wait_until_asked(page, fail(page, status), times=2)
    expect(page.locator("#live")).to_be_visible()
    page.unroute("**/v1/segment*")
    for _ in range(2):
        with page.expect_response(lambda answer: "/v1/segment" in answer.url and answer.ok):
            pass
    expect(page.locator("#live")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


def test_what_does_not_pass_ends_a_live_source_that_can_be_tried_again(visit: Visit) -> None:
    page = visit(refusals=True)
    start_camera(page)
    asked = fail(page, 0)
    expect(page.locator("#problem-title")).to_have_text("The service doesn't answer", timeout=40_000)
    assert len(asked) > 2
    expect(page.locator("#live")).to_be_hidden()
    page.unroute("**/v1/segment*")
    page.locator("#retry").click()
    expect(page.locator("#live")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


COUNT = """() => {
  const create = window.createImageBitmap;
  const made = [];
  window.createImageBitmap = async (...all) => {
    const bitmap = await create(...all);
    made.push(bitmap);
    return bitmap;
  };
  window.countBitmaps = () => [made.length, made.filter((one) => one.width > 0).length];
}"""
"""Bitmaps that were made since, and those among them that hold memory still: a closed one is 0 wide."""


def test_frames_that_are_not_shown_hold_no_memory(visit: Visit) -> None:
    page = visit(refusals=True)
    page.evaluate(COUNT)
    start_camera(page)
    wait_until_asked(page, fail(page, 503), times=3)
    page.locator("#stop").click()
    wait_for_result(page)
    page.wait_for_timeout(1500)  # the frame that is on its way
    made, held = page.evaluate("countBitmaps()")
    assert made > 3
    assert held == 1, "the frame that is shown"
