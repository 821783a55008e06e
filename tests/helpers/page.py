"""What a visitor of the page does and sees."""

import base64
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, Route

from helpers.serving import Server

HEIGHT, WIDTH = 180, 240
Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
Pixels = NDArray[np.uint8]


def ask(server: Server, path: Path, accept: str) -> bytes:
    headers = {"Accept": accept, "Content-Type": "image/png"}
    request = urllib.request.Request(server.http_url + "/v1/segment", path.read_bytes(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def choose(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("[data-action=open]:visible").click()
    chooser.value.set_files(path)


def segmented(page: Page, path: Path) -> Page:
    choose(page, path)
    wait_for_result(page)
    return page


def wait_for_result(page: Page) -> None:
    page.wait_for_selector("#stage[data-state=result]")


def canvas_pixels(page: Page) -> Pixels:
    """(H, W, 3) uint8 RGB: the canvas as it is drawn."""
    address: str = page.evaluate("document.getElementById('canvas').toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"))


def set_opacity(page: Page, percent: int) -> None:
    page.locator("#opacity").fill(str(percent))


def click_pixel(page: Page, x: int, y: int) -> None:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    position = {"x": (x + 0.5) * box["width"] / WIDTH, "y": (y + 0.5) * box["height"] / HEIGHT}
    page.locator("#canvas").click(position=position)  # type: ignore[arg-type]


def tab_to(page: Page, selector: str) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never reaches {selector}")


def change_card(page: Page, change: Callable[[dict[str, Any]], None]) -> None:
    """Let GET /v1/models say something else, and open the page again."""

    def answer(route: Route) -> None:
        body = route.fetch().json()
        change(body["models"][0])
        route.fulfill(json=body)

    page.route("**/v1/models", answer)
    page.reload()
    page.wait_for_selector("#serving[data-state=ready]")
