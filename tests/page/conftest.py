"""The page in a real browser against a real server: what it shows is what the service answers.

Screenshots go to the folder that ADAPTSEG_SCREENSHOTS names, else to pytest's temporary one.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.chromium import chromium, find_chromium
from helpers.page import HEIGHT, WIDTH, Pixels, Shoot, Visit, ask
from helpers.serving import Server
from PIL import Image
from playwright.sync_api import Browser, Page, expect

expect.set_options(timeout=20_000)  # A machine that runs other tests beside these is slow, not wrong.


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found: install one, or name it in ADAPTSEG_CHROMIUM")
    with chromium(path) as running:
        yield running


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """Opens the page. At the end: nothing on the console, no exception, no request to another host.

    `refusals=True`: the test provokes an error answer, which Chromium itself notes on the console.
    """
    with ExitStack() as stack:

        def open_page(*, refusals: bool = False, **options: Any) -> Page:
            options.setdefault("viewport", {"width": 1280, "height": 900})
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            troubles: list[str] = []
            page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: troubles.append(f"exception: {error}"))
            page.on("request", lambda request: troubles.extend(_foreign(request.url, server)))
            stack.callback(lambda: _check(troubles, refusals))
            # Chromium hands choosers to the test only while somebody listens; a late listener can miss the first one.
            page.on("filechooser", lambda chooser: None)
            page.goto(server.http_url + "/")
            page.wait_for_selector("#serving[data-state=ready]")
            return page

        yield open_page


def _foreign(url: str, server: Server) -> list[str]:
    return [] if url.startswith((server.http_url + "/", f"blob:{server.http_url}/")) else [url]


def _check(troubles: list[str], refusals: bool) -> None:
    assert [t for t in troubles if not (refusals and "Failed to load resource" in t)] == []


@pytest.fixture(scope="package")
def photo() -> Pixels:
    """(HEIGHT, WIDTH, 3) uint8 RGB: blocks of colour, so that the tiny bundle sees many classes."""
    blocks = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(blocks, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


@pytest.fixture(scope="package")
def photo_file(photo: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "blocks.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture(scope="package")
def label_map(photo_file: Path, server: Server) -> Pixels:
    """What the service says of the photo, by another route than the page takes."""
    body = ask(server, photo_file, "application/octet-stream")
    found = np.frombuffer(body, np.uint8).reshape(HEIGHT, WIDTH)
    assert len(np.unique(found)) > 3, "the photo shows too few classes to test anything"
    return found


@pytest.fixture
def shoot(tmp_path: Path) -> Shoot:
    folder = Path(os.environ.get("ADAPTSEG_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def screenshot(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return screenshot
