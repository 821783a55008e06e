"""A service with tokens: the page asks for one only then, says when it is wrong, and keeps it for its tab alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.page import Shoot, choose, wait_for_result
from helpers.serving import Server, serving
from playwright.sync_api import Browser, expect


@pytest.fixture(scope="module")
def guarded(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    tokens = folder / "tokens"
    tokens.write_text("correct-horse\n")
    with serving(tiny_bundle, folder, ADAPTSEG_TOKENS_FILE=str(tokens)) as running:
        yield running


def test_a_token_is_asked_for_checked_and_kept(
    browser: Browser, guarded: Server, photo_file: Path, shoot: Shoot
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.on("filechooser", lambda chooser: None)
    page.goto(guarded.http_url + "/")
    field, problem = page.get_by_label("This service wants a token"), page.locator("#token-problem")
    expect(field).to_be_focused()
    expect(problem).to_be_hidden()
    field.fill("wrong")
    field.press("Enter")
    expect(problem).to_contain_text("not accepted")
    shoot(page, "token-wrong")
    field.fill("correct-horse")
    field.press("Enter")
    page.wait_for_selector("#serving[data-state=ready]")
    expect(field).to_be_hidden()
    choose(page, photo_file)
    wait_for_result(page)
    page.reload()
    page.wait_for_selector("#serving[data-state=ready]")
    expect(field).to_be_hidden()
    context.close()


def test_a_picture_refused_for_want_of_a_token_is_sent_again(
    browser: Browser, guarded: Server, photo_file: Path, shoot: Shoot
) -> None:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.on("filechooser", lambda chooser: None)
    page.goto(guarded.http_url + "/")
    expect(page.locator("#serving-text")).to_have_text("Token wanted")
    expect(page.locator("#side")).to_be_hidden()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/v1/segment" in request.url else None)
    choose(page, photo_file)
    expect(page.locator("#problem-title")).to_contain_text("blocks.png")
    shoot(page, "token-wanted")
    field = page.get_by_label("This service wants a token")
    field.fill("wrong")
    field.press("Enter")
    expect(page.locator("#token-problem")).to_be_visible()
    field.fill("correct-horse")
    field.press("Enter")
    wait_for_result(page)
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#side")).to_be_visible()
    assert len(sent) == 2, "once refused, once accepted; never with a token that was refused"
    context.close()
