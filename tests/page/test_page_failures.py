"""A picture that gets no label map: nothing of the one before it stands beside it, and what to do is said."""

import json
import re
from pathlib import Path

import pytest
from helpers.page import Shoot, Visit, segmented, wait_for_result
from playwright.sync_api import Page, expect

TREES = "[data-sample='samples/trees.jpg']"
COLORS = "[...new Set([...document.querySelectorAll('#legend .row')].map((row) => getComputedStyle(row).color))]"


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
    expect(page.locator("#legend .absent").first).to_be_attached()
    expect(page.locator("#legend .track:visible")).to_have_count(0)
    assert len(page.evaluate(COLORS)) == 1, "no class is known to be absent"
    shoot(page, "failed")
    page.unroute("**/v1/segment")
    page.locator("#retry").click()
    wait_for_result(page)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"Label map of trees\.jpg: \w"))
    expect(page.locator("#timing")).to_be_visible()
    expect(page.locator("#legend .share").first).to_contain_text("%")


def top_of(page: Page, selector: str) -> float:
    """In the document, however far it is scrolled, once it has come to rest."""
    seen = [-1.0, -2.0]
    while seen[-1] != seen[-2]:
        page.wait_for_timeout(200)
        seen.append(page.locator(selector).evaluate("it => it.getBoundingClientRect().top + scrollY"))
    return seen[-1]


def test_shares_and_time_go_while_the_next_picture_is_awaited_but_keep_their_place(
    visit: Visit, photo_file: Path
) -> None:
    page = segmented(visit(), photo_file)
    page.locator("[data-sample='samples/highway.jpg']").click()
    wait_for_result(page)
    place = top_of(page, "#model")
    page.route("**/v1/segment", lambda route: None)
    page.locator("[data-sample='samples/highway.jpg']").click()
    expect(page.locator("#timing")).to_be_hidden()
    for fill in page.locator("#legend .fill").all():
        expect(fill).to_have_css("width", "0px")
    assert top_of(page, "#model") == place


BREAK = """(address) => {
  const fetched = window.fetch;
  const half = (stream) => stream.error(new TypeError("network error"));
  window.fetch = async (path, options) => {
    const response = await fetched(path, options);
    if (!path.includes(address)) return response;
    window.fetch = fetched;
    return new Response(new ReadableStream({ pull: half }), { status: 200, headers: response.headers });
  };
}"""


@pytest.mark.parametrize("confidence", [False, True])
def test_an_answer_that_breaks_off_can_be_asked_for_again(visit: Visit, photo_file: Path, confidence: bool) -> None:
    page = segmented(visit(), photo_file)
    page.evaluate(BREAK, "v1/segment")
    if confidence:
        page.locator("#confidence").click()
    else:
        page.locator(TREES).click()
    name = "blocks.png" if confidence else "trees.jpg"
    expect(page.locator("#problem-title")).to_have_text(f"The answer broke off: {name}")
    page.locator("#retry").click()
    wait_for_result(page)
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#confidence-legend")).to_be_visible(visible=confidence)


def test_a_sample_that_breaks_off_can_be_asked_for_again(visit: Visit) -> None:
    page = visit()
    page.evaluate(BREAK, "samples/trees.jpg")
    page.locator(TREES).click()
    expect(page.locator("#problem-title")).to_have_text("The sample is missing: trees.jpg")
    page.locator("#retry").click()
    wait_for_result(page)


def test_a_card_that_breaks_off_is_asked_for_again(visit: Visit) -> None:
    """The page itself asks again, as while the service is not ready."""
    page = visit()
    page.add_init_script(f"({BREAK})('v1/models')")
    page.reload()
    expect(page.locator("#serving-text")).to_have_text("The answer broke off")
    expect(page.locator("#serving")).to_have_attribute("data-state", "ready")
    expect(page.locator("#problem")).to_be_hidden()
