"""Pictures for people as files: what fits into one, and what is said of what doesn't."""

import cv2
import httpx
import numpy as np
import pytest
from helpers.serving import Server

from adaptseg_serve.errors import NotAcceptable
from adaptseg_serve.render import MAX_SIDE, encode_rgb


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_the_widest_picture_is_written_and_a_wider_one_is_refused(kind: str) -> None:
    widest = MAX_SIDE[kind]
    encoded = encode_rgb(np.zeros((1, widest, 3), np.uint8), kind)  # type: ignore[arg-type]
    assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape == (1, widest, 3)
    for shape in ((1, widest + 1, 3), (widest + 1, 1, 3)):
        with pytest.raises(NotAcceptable, match="Ask for"):
            encode_rgb(np.zeros(shape, np.uint8), kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("render", ["color", "overlay"])
def test_a_jpeg_that_would_be_too_wide_is_refused_with_the_format_that_fits(server: Server, render: str) -> None:
    wide = cv2.imencode(".png", np.zeros((10, 70_000, 3), np.uint8))[1].tobytes()
    url = f"{server.http_url}/v1/segment?render={render}"
    refused = httpx.post(url, content=wide, headers={"Accept": "image/jpeg"}, timeout=30)
    assert refused.status_code == 406
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"].endswith("Ask for image/png.")
    assert httpx.post(url, content=wide, headers={"Accept": "image/png"}, timeout=30).status_code == 200
