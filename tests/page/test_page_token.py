"""A service with tokens: the page asks for one only then, says when it is wrong, and keeps it for its tab alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.page import Shoot, choose, wait_for_result
from helpers.serving import Server
from playwright.sync_api import Browser, Page, Route, expect

FIELD = "This service wants a token"


@contextmanager
def visitor(browser: Browser, server: Server, width: int) -> Iterator[Page]:
    with browser.new_context(viewport={"width": width, "height": 844}) as context:
        page = context.new_page()
        page.on("filechooser", lambda chooser: None)
        page.goto(server.http_url + "/")
        yield page


def enter(page: Page, token: str) -> None:
    field = page.get_by_label(FIELD)
    field.fill(token)
    field.press("Enter")


def test_a_token_is_asked_for_checked_and_kept(
    browser: Browser, guarded: Server, photo_file: Path, shoot: Shoot
) -> None:
    with visitor(browser, guarded, width=390) as page:
        field, problem = page.get_by_label(FIELD), page.locator("#token-problem")
        expect(field).to_be_focused()
        expect(problem).to_be_hidden()
        enter(page, "wrong")
        expect(problem).to_contain_text("not accepted")
        shoot(page, "token-wrong")
        enter(page, "first")
        page.wait_for_selector("#serving[data-state=ready]")
        expect(field).to_be_hidden()
        expect(page.locator("#stage")).to_be_focused()
        choose(page, photo_file)
        wait_for_result(page)
        page.reload()
        page.wait_for_selector("#serving[data-state=ready]")
        expect(field).to_be_hidden()


def test_a_picture_refused_for_want_of_a_token_is_sent_again(
    browser: Browser, guarded: Server, photo_file: Path, shoot: Shoot
) -> None:
    with visitor(browser, guarded, width=1000) as page:
        expect(page.locator("#serving-text")).to_have_text("Token wanted")
        expect(page.locator("#side")).to_be_hidden()
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if "/v1/segment" in request.url else None)
        choose(page, photo_file)
        expect(page.locator("#problem-title")).to_contain_text("blocks.png")
        shoot(page, "token-wanted")
        enter(page, "wrong")
        expect(page.locator("#token-problem")).to_be_visible()
        enter(page, "first")
        wait_for_result(page)
        expect(page.locator("#problem")).to_be_hidden()
        expect(page.locator("#side")).to_be_visible()
        assert len(sent) == 2, "once refused, once accepted; never with a token that was refused"


def test_a_camera_refused_for_want_of_a_token_is_begun_again(browser: Browser, guarded: Server) -> None:
    with visitor(browser, guarded, width=1000) as page:
        expect(page.locator("#serving-text")).to_have_text("Token wanted")
        page.locator("[data-action=camera]:visible").click()
        expect(page.locator("#problem")).to_be_visible()
        enter(page, "first")
        expect(page.locator("#live")).to_be_visible()
        expect(page.locator("#problem")).to_be_hidden()


def test_a_late_refusal_of_an_old_token_leaves_the_new_one(browser: Browser, guarded: Server, photo_file: Path) -> None:
    with visitor(browser, guarded, width=1000) as page:
        late: list[Route] = []

        def hold(route: Route) -> None:
            if route.request.headers.get("authorization") == "Bearer wrong":
                late.append(route)
            else:
                route.continue_()

        page.route("**/v1/models", hold)
        enter(page, "wrong")
        expect(page.locator("#token-problem")).to_be_visible()
        enter(page, "first")
        page.wait_for_selector("#serving[data-state=ready]")
        with page.expect_response(lambda answer: answer.status == 401):
            late.pop().continue_()
        choose(page, photo_file)
        wait_for_result(page)
        expect(page.get_by_label(FIELD)).to_be_hidden()
