"""The HTTP door in process: the app before a real Segmenter with small limits, and what its answers must be."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.http.app import create_app
from adaptseg_serve.http.middleware import BodyLimit, RequestNames
from adaptseg_serve.segmenter import Segmenter
from adaptseg_serve.settings import Settings

FRAME = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (90, 70))
PNG = cv2.imencode(".png", FRAME[..., ::-1])[1].tobytes()
SETTINGS = Settings(max_body_bytes=100_000, max_pixels=10_000)


@contextmanager
def http_door(bundle: Path) -> Iterator[TestClient]:
    """Serve until the block ends. What the app raises, the client raises."""
    segmenter = Segmenter(open_bundle(bundle), SETTINGS)
    guarded = RequestNames(
        BodyLimit(create_app(segmenter), SETTINGS.max_body_bytes, SETTINGS.max_held_bytes, SETTINGS.timeout)
    )
    with TestClient(guarded, raise_server_exceptions=True) as running:
        assert running.portal is not None
        running.portal.call(segmenter.start)
        yield running
        running.portal.call(segmenter.close)


def ids_of(png: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(png))
    assert image.mode == "P"
    return np.asarray(image)


def problem(answer: Any, status: int, name: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["type"] == f"urn:adaptseg:error:{name}"
    assert content["status"] == status
    return str(content["detail"])
