"""The page in a real browser against a real server: what it shows is what the service answers.

Screenshots go to the folder that ADAPTSEG_SCREENSHOTS names, else to pytest's temporary one.
"""

import base64
import io
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.serving import Server
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
from helpers.chromium import chromium, find_chromium
from playwright.sync_api import Browser, Page, Route, expect

from adaptseg_serve.labels import CITYSCAPES

HEIGHT, WIDTH = 180, 240

expect.set_options(timeout=20_000)  # A machine that runs other tests beside these is slow, not wrong.

Visit = Callable[..., Page]
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def photo() -> Pixels:
    """(HEIGHT, WIDTH, 3) uint8 RGB: blocks of colour, so that the tiny bundle sees many classes."""
    blocks = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(blocks, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


@pytest.fixture(scope="module")
def photo_file(photo: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "blocks.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture(scope="module")
def label_map(photo_file: Path, server: Server) -> Pixels:
    """What the service says of the photo, by another route than the page takes."""
    body = ask(server, photo_file, "application/octet-stream")
    found = np.frombuffer(body, np.uint8).reshape(HEIGHT, WIDTH)
    assert len(np.unique(found)) > 3, "the photo shows too few classes to test anything"
    return found


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[[Page, str], None]:
    folder = Path(os.environ.get("ADAPTSEG_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def screenshot(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return screenshot


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


def test_at_full_strength_the_canvas_is_the_label_map(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    np.testing.assert_array_equal(canvas_pixels(page), CITYSCAPES.palette()[label_map])


def test_the_slider_mixes_photo_and_labels(visit: Visit, photo_file: Path, photo: Pixels, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    colors = CITYSCAPES.palette()[label_map]
    for percent in (0, 40):
        set_opacity(page, percent)
        expected = photo + (colors.astype(float) - photo) * percent / 100
        assert np.abs(canvas_pixels(page) - expected).max() <= 2


def test_a_class_that_is_switched_off_shows_the_photo(
    visit: Visit, photo_file: Path, photo: Pixels, label_map: Pixels
) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    largest = int(np.bincount(label_map.ravel()).argmax())
    row = page.locator(f"#legend [data-train-id='{largest}']")
    row.click()
    expect(row).to_have_attribute("aria-pressed", "false")
    colors = CITYSCAPES.palette()[label_map]
    expected = np.where((label_map == largest)[..., None], photo, colors)
    np.testing.assert_array_equal(canvas_pixels(page), expected)
    page.locator("#hide-all").click()
    np.testing.assert_array_equal(canvas_pixels(page), photo)
    page.locator("#show-all").click()
    np.testing.assert_array_equal(canvas_pixels(page), colors)


def test_pointing_at_a_class_dims_the_others(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    set_opacity(page, 100)
    largest = int(np.bincount(label_map.ravel()).argmax())
    page.locator(f"#legend [data-train-id='{largest}']").hover()
    same = (canvas_pixels(page) == CITYSCAPES.palette()[label_map]).all(axis=-1)
    assert same[label_map == largest].all()
    assert not same[label_map != largest].all()


def test_clicking_a_pixel_names_its_class(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    for x, y in [(3, 5), (120, 90), (WIDTH - 2, HEIGHT - 3)]:
        click_pixel(page, x, y)
        train_id = int(label_map[y, x])
        told = f"{CITYSCAPES.names[train_id]} \u00b7 train id {train_id} \u00b7 x {x}, y {y}"
        expect(page.locator("#readout-text")).to_have_text(told)
        expect(page.locator("#announce")).to_have_text(told)
        expect(page.locator("#probe")).to_be_visible()


def test_the_legend_gives_each_class_its_share(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = segmented(visit(), photo_file)
    shown = [text for text in page.locator("#legend .share:visible").all_inner_texts() if text != "\u2013"]
    shares = [float(text.removesuffix(" %").removeprefix("< ")) for text in shown]
    counts = np.bincount(label_map.ravel(), minlength=len(CITYSCAPES))
    np.testing.assert_allclose(shares, sorted(100 * counts[counts > 0] / label_map.size, reverse=True), atol=0.11)
    assert sum(shares) == pytest.approx(100, abs=1)


def test_the_timing_adds_up(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    assert page.locator("#timing-stages dt").all_inner_texts() == ["decode", "queue", "infer", "encode", "network"]
    stages = [float(text.removesuffix(" ms")) for text in page.locator("#timing-stages dd").all_inner_texts()]
    assert sum(stages) == pytest.approx(float(page.inner_text("#timing-total")), abs=2)


def test_the_card_describes_the_model(visit: Visit, server: Server) -> None:
    card = visit().inner_text("#model")
    with urllib.request.urlopen(server.http_url + "/v1/models", timeout=10) as answer:
        model = json.load(answer)["models"][0]
    for said in (model["name"], model["version"], "64 \u00d7 48 pixels", "19, cityscapes", model["runtime"]):
        assert said in card


def test_saved_labels_are_the_bytes_of_the_service(
    visit: Visit, photo_file: Path, server: Server, tmp_path: Path
) -> None:
    page = segmented(visit(), photo_file)
    with page.expect_download() as download:
        page.locator("#save-labels").click()
    assert download.value.suggested_filename == "blocks-labels.png"
    assert download.value.path().read_bytes() == ask(server, photo_file, "image/png")
    with page.expect_download() as download:
        page.locator("#save-overlay").click()
    with Image.open(download.value.path()) as overlay:
        assert overlay.size == (WIDTH, HEIGHT)


def test_a_file_that_is_no_image_says_why(visit: Visit, server: Server, photo_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo_file.read_bytes()[:60])
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, broken, "image/png")
    with refused.value as answer:
        problem = json.load(answer)
    page = visit(refusals=True)
    choose(page, broken)
    expect(page.get_by_role("alert")).to_contain_text(problem["detail"])
    expect(page.locator("#problem-title")).to_have_text(f"{problem['title']}: broken.png")
    expect(page.locator("#invitation")).to_be_visible()
    page.locator("#dismiss").click()
    expect(page.locator("#problem")).to_be_hidden()
    segmented(page, photo_file)


def test_a_busy_service_can_be_asked_again(visit: Visit, photo_file: Path) -> None:
    page = visit(refusals=True)
    problem = json.dumps({"title": "Busy", "detail": "The queue is full."})
    page.route("**/v1/segment", lambda route: route.fulfill(status=503, body=problem))
    choose(page, photo_file)
    expect(page.locator("#problem-detail")).to_have_text("The queue is full.")
    page.unroute("**/v1/segment")
    page.locator("#retry").click()
    wait_for_result(page)
    expect(page.locator("#problem")).to_be_hidden()


PUT = """([kind, address]) => fetch(address).then((answer) => answer.blob()).then((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], "put.jpg", { type: "image/jpeg" }));
  document.dispatchEvent(kind === "drop" ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
                                         : new ClipboardEvent("paste", { clipboardData: data }));
})"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_images_can_be_dropped_and_pasted(visit: Visit, kind: str) -> None:
    page = visit()
    page.evaluate(PUT, [kind, "samples/highway.jpg"])
    wait_for_result(page)
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(r"Label map of put\.jpg: \w"))


def test_every_sample_works(visit: Visit) -> None:
    page = visit()
    samples = page.locator("#samples button")
    assert samples.count() >= 2
    for i in range(samples.count()):
        samples.nth(i).click()
        expect(samples.nth(i)).to_have_attribute("aria-pressed", "true")
        wait_for_result(page)
        assert samples.nth(i).locator("img").get_attribute("alt")


def test_a_photo_on_its_side_is_shown_upright(visit: Visit, photo: Pixels, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    Image.fromarray(photo).save(path, exif=exif, quality=95)
    page = segmented(visit(), path)
    set_opacity(page, 0)
    shown = canvas_pixels(page)
    assert shown.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(shown.astype(int) - np.rot90(photo, -1)).mean() < 8


def test_other_formats_are_converted_in_the_browser(visit: Visit, photo: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "photo.webp"
    Image.fromarray(photo).save(path)
    assert canvas_pixels(segmented(visit(), path)).shape == photo.shape


def change_card(page: Page, change: Callable[[dict[str, Any]], None]) -> None:
    """Let GET /v1/models say something else, and open the page again."""

    def answer(route: Route) -> None:
        body = route.fetch().json()
        change(body["models"][0])
        route.fulfill(json=body)

    page.route("**/v1/models", answer)
    page.reload()
    page.wait_for_selector("#serving[data-state=ready]")


def test_a_photo_beyond_the_limits_is_scaled(visit: Visit, photo_file: Path) -> None:
    page = visit()
    change_card(page, lambda card: card["input"].update(max_pixels=10_000))
    height, width, _ = canvas_pixels(segmented(page, photo_file)).shape
    assert 9_000 < height * width <= 10_000
    assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.02)


def test_another_bundle_is_noticed(visit: Visit, photo_file: Path) -> None:
    page = visit()
    change_card(page, lambda card: card.update(name="earlier", version="an earlier one"))
    expect(page.locator("#serving-text")).to_have_text("earlier \u00b7 an earlier one")
    page.unroute("**/v1/models")
    segmented(page, photo_file)
    expect(page.locator("#serving-text")).to_contain_text("tiny")
    expect(page.locator("#model-name")).to_have_text("tiny")
    expect(page.locator("#legend .share").first).to_contain_text("%")


def test_the_camera_runs_until_it_is_stopped(visit: Visit) -> None:
    page = visit()
    page.locator("[data-action=camera]:visible").click()
    figures = page.locator("#live-text")
    expect(figures).to_have_text(re.compile(r"[1-9][\d.]* frames/s \u00b7 \d+ ms \u00b7 \d+ skipped"))
    page.locator("#stop").click()
    wait_for_result(page)
    expect(page.locator("#live")).to_be_hidden()


@pytest.fixture(scope="module")
def video_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a bar that moves, as WebM."""
    path = tmp_path_factory.mktemp("video") / "bar.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 25, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip("this OpenCV can't write WebM")
    for i in range(50):
        frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        frame[:, 4 * i : 4 * i + 30] = (30, 200, 240)
        writer.write(frame)
    writer.release()
    return path


def test_a_video_runs_and_pauses(visit: Visit, video_file: Path, shoot: Callable[[Page, str], None]) -> None:
    page = visit()
    choose(page, video_file)
    expect(page.locator("#live-text")).to_have_text(re.compile(r"[1-9][\d.]* frames/s"))
    shoot(page, "video")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(500)
    assert requests
    page.locator("#pause").click()
    page.wait_for_timeout(500)
    requests.clear()
    page.wait_for_timeout(500)
    assert requests == []
    click_pixel(page, 10, 10)
    expect(page.locator("#readout-text")).to_have_text(re.compile("train id"))


def test_everything_can_be_done_with_the_keyboard(visit: Visit, photo_file: Path, label_map: Pixels) -> None:
    page = visit()
    tab_to(page, "[data-action=open]")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo_file)
    wait_for_result(page)
    expect(page.locator("#announce")).to_have_text(re.compile(r"blocks\.png took \d+ milliseconds: .+ percent"))
    tab_to(page, "#canvas")
    for key in ("ArrowRight", "Shift+ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    x, y = WIDTH // 2 + 2, HEIGHT // 2 + 24 - 2
    expect(page.locator("#announce")).to_contain_text(f"train id {label_map[y, x]} \u00b7 x {x}, y {y}")
    page.keyboard.press("Escape")
    expect(page.locator("#readout")).to_be_hidden()
    tab_to(page, "#opacity")
    before = canvas_pixels(page)
    page.keyboard.press("Home")
    assert not np.array_equal(canvas_pixels(page), before)
    tab_to(page, "#legend button")
    page.keyboard.press("Space")
    expect(page.locator("#legend button").first).to_have_attribute("aria-pressed", "false")


def test_everything_has_a_name(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input:not([hidden]), canvas")].filter((one) =>
           !(one.textContent.trim() || one.ariaLabel || one.labels?.length || one.querySelector("img[alt]")?.alt)
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []


CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const paper = light(style.getPropertyValue("--paper"));
  return ["--ink", "--muted", "--alarm", "--focus"].map((name) => {
    const ink = light(style.getPropertyValue(name));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_can_be_read(visit: Visit, scheme: str, shoot: Callable[[Page, str], None]) -> None:
    page = visit(color_scheme=scheme)
    shoot(page, f"empty-{scheme}")
    paper = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (int(paper[0]) < 64) == (scheme == "dark")
    assert min(page.evaluate(CONTRAST)) >= 4.5
    page.locator("#samples button").first.click()
    wait_for_result(page)
    shoot(page, f"result-{scheme}")


def test_a_phone_needs_no_sideways_scrolling(visit: Visit, shoot: Callable[[Page, str], None]) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    shoot(page, "phone-empty")
    page.locator("#samples button").last.tap()
    wait_for_result(page)
    page.locator("#canvas").tap()
    expect(page.locator("#readout-text")).to_have_text(re.compile("train id"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    shoot(page, "phone-result")


DECODE = """async (address) => {
  const { decodePalettePng } = await import("./png.js");
  const bytes = Uint8Array.from(atob(address), (one) => one.charCodeAt(0));
  const { width, height, ids } = await decodePalettePng(bytes.buffer);
  return { width, height, ids: [...ids] };
}"""


@pytest.mark.parametrize("strategy", ["none", "sub", "up", "average", "paeth"])
def test_png_filters_are_undone(visit: Visit, strategy: str) -> None:
    """OpenCV writes the rows with each of PNG's filters; the page reads the numbers back."""
    ids = np.random.default_rng(3).integers(0, 256, (9, 14), np.uint8)
    ids[2:6] = 7
    flag = getattr(cv2, f"IMWRITE_PNG_FILTER_{'AVG' if strategy == 'average' else strategy.upper()}")
    encoded = cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_FILTER, flag])[1].tobytes()
    palettized = bytearray(encoded)
    palettized[25] = 3  # The colour type: the same bytes as indices. The page checks no CRC, as it trusts its server.
    found = visit().evaluate(DECODE, base64.b64encode(palettized).decode())
    assert (found["height"], found["width"]) == ids.shape
    np.testing.assert_array_equal(found["ids"], ids.ravel())
