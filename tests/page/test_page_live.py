"""The camera and video files, frame by frame."""

import re
import wave
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.page import (
    HEIGHT,
    WIDTH,
    Shoot,
    Visit,
    canvas_pixels,
    choose,
    click_pixel,
    segmented,
    wait_for_result,
)
from playwright.sync_api import Page, expect


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


def test_a_video_runs_and_pauses(visit: Visit, video_file: Path, shoot: Shoot) -> None:
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


def test_a_video_without_a_picture_says_so(visit: Visit, tmp_path: Path) -> None:
    """Browsers play the sound alone of a video whose picture they can't decode."""
    path = tmp_path / "sound.webm"
    with path.open("wb") as file, wave.open(file) as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(bytes(2 * 8000))
    page = visit()
    choose(page, path)
    expect(page.locator("#problem-title")).to_have_text("The video can't be played")
    expect(page.locator("#problem-detail")).to_contain_text("no picture")
    expect(page.locator("#retry")).to_be_hidden()
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")


RUNNING = re.compile(r"[1-9][\d.]* frames/s")


def _pause(page: Page) -> None:
    page.locator("#pause").click()
    page.wait_for_timeout(500)  # the frame that is on its way arrives


def _stop(page: Page) -> None:
    page.locator("#stop").click()
    wait_for_result(page)


def test_a_live_source_brings_the_confidence_with_its_next_frame(visit: Visit, video_file: Path) -> None:
    page = visit()
    choose(page, video_file)
    expect(page.locator("#live-text")).to_have_text(RUNNING)
    page.locator("#confidence").click()
    expect(page.locator("#confidence-legend")).to_be_visible()
    expect(page.locator("#live")).to_be_visible()


@pytest.mark.parametrize("halt", [_pause, _stop])
def test_the_frame_that_is_left_is_asked_for_its_confidence(
    visit: Visit, video_file: Path, halt: Callable[[Page], None], shoot: Shoot
) -> None:
    page = visit()
    choose(page, video_file)
    expect(page.locator("#live-text")).to_have_text(RUNNING)
    halt(page)
    before = canvas_pixels(page)
    with page.expect_response("**/v1/segment?include=confidence"):
        page.locator("#confidence").click()
    expect(page.locator("#confidence-legend")).to_be_visible()
    click_pixel(page, 10, 10)
    expect(page.locator("#readout-text")).to_contain_text("percent sure")
    shoot(page, f"confidence{halt.__name__}")
    page.locator("#confidence").click()
    expect(page.locator("#confidence-legend")).to_be_hidden()
    np.testing.assert_array_equal(canvas_pixels(page), before)


def test_a_picture_keeps_its_confidence_where_no_camera_comes(visit: Visit, photo_file: Path) -> None:
    page = segmented(visit(), photo_file)
    page.evaluate("""() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    }""")
    page.locator("[data-action=camera]:visible").click()
    expect(page.locator("#problem-title")).to_have_text("The camera can't be used")
    with page.expect_response("**/v1/segment?include=confidence"):
        page.locator("#confidence").click()
    expect(page.locator("#confidence-legend")).to_be_visible()
