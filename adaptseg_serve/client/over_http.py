"""Requests and answers of POST /v1/segment, without the sending: the same for both clients."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import cv2
import httpx
import numpy as np

from adaptseg_serve import errors
from adaptseg_serve.client.answers import (
    NAMED,
    Answer,
    Extra,
    Picture,
    ServiceError,
    WantedSize,
    check_picture,
    to_label_map,
    to_label_set,
    to_map,
)
from adaptseg_serve.errors import Busy, RequestError
from adaptseg_serve.labels import LabelClass, LabelSet

MAX_TIMEOUT = 3600.0
"""Seconds: the longest deadline that the service takes."""


def segment_request(image: Picture, size: WantedSize, include: Sequence[Extra], timeout: float) -> dict[str, Any]:
    """Arguments for httpx's `post`. An array travels as a lossless PNG."""
    timeout = min(timeout, MAX_TIMEOUT)
    file = _file(image)
    return {
        "url": "/v1/segment",
        "params": {"size": size, "include": ",".join(include)},
        "content": file,
        "headers": {
            "Accept": "application/octet-stream",
            "Content-Type": "image/png" if file.startswith(b"\x89PNG") else "image/jpeg",
            "X-Request-Timeout-Ms": str(max(1, round(timeout * 1000))),
        },
        "timeout": timeout,
    }


def read_answer(response: httpx.Response) -> Answer:
    """The Answer; or raises the RequestError that the service met, or ServiceError."""
    if response.status_code != 200:
        raise error_of(response)
    headers = response.headers
    try:
        height, width = int(headers["x-label-map-height"]), int(headers["x-label-map-width"])
        label_map, *maps = _planes(response.content, height * width)
        names = headers.get("x-planes", "labels").split(",")[1:]
        found = {name: to_map(plane, height, width) for name, plane in zip(names, maps, strict=True)}
        said = headers.get("x-class-shares")  # by name, in the order of the train ids
        shares = None if said is None else np.array(list(json.loads(said).values()), np.float64)
    except (KeyError, ValueError) as error:
        raise ServiceError(
            f"{response.request.url} answered, but with no label map ({error}). Is it this service?"
        ) from error
    return Answer(
        to_label_map(label_map, height, width),
        headers.get("x-model-version", ""),
        _timings(headers.get("server-timing", "")),
        confidence=found.get("confidence"),
        entropy=found.get("entropy"),
        shares=shares,
    )


def read_labels(response: httpx.Response) -> LabelSet:
    """The classes; or raises as `read_answer` does."""
    if response.status_code != 200:
        raise error_of(response)
    try:
        document = response.json()
        return to_label_set(document["label_set"], [_label_class(row) for row in document["classes"]])
    except (KeyError, TypeError, ValueError) as error:
        raise ServiceError(
            f"{response.request.url} answered, but with no classes ({error!r}). Is it this service?"
        ) from error


def _label_class(row: dict[str, Any]) -> LabelClass:
    red, green, blue = row["color"]
    return LabelClass(row["train_id"], row["name"], (red, green, blue), row["label_id"])


def error_of(response: httpx.Response) -> RequestError | ServiceError:
    """The error that an answer other than 200 stands for."""
    name, detail = _problem(response)
    if response.status_code in (429, 503):
        return Busy(detail, _retry_after(response))
    if kind := NAMED.get(name):
        return kind(detail)
    return ServiceError(f"{response.request.url} answered {response.status_code}: {detail}")


def lost(url: str, error: httpx.TransportError | TimeoutError) -> RequestError | ServiceError:
    """The error that a broken or missing connection stands for; none at all, and one that was closed (the
    service restarts, or had waited long enough for the next request), are worth another try."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return errors.DeadlineExceeded(f"{url} did not answer in time.")
    if isinstance(error, httpx.ConnectError):
        return Busy(f"{url} can't be reached ({error}). Is the service running there?", 0.0)
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):  # asking twice does no harm
        return Busy(f"{url} closed the connection ({error or type(error).__name__}). Is the service restarting?", 0.0)
    return ServiceError(f"The connection to {url} broke: {error!r}")


def _planes(content: bytes, length: int) -> list[bytes]:
    return [content[start : start + length] for start in range(0, len(content), length)]


def _file(image: Picture) -> bytes:
    check_picture(image)
    if isinstance(image, bytes):
        return image
    done, file = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"The image of shape {image.shape} can't be written as PNG.")
    return file.tobytes()


def _problem(response: httpx.Response) -> tuple[str, str]:
    """The tail of a problem's type, and its detail."""
    try:
        document = response.json()
        return str(document["type"]).rpartition(":")[2], str(document["detail"])
    except (ValueError, KeyError, TypeError):
        return "", response.text[:200]


def _retry_after(response: httpx.Response) -> float:
    """Seconds; a proxy may say a date."""
    said = response.headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(said))
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    return 1.0


def _timings(text: str) -> dict[str, float]:
    """Server-Timing "decode;dur=1.5, queue;dur=0.1" (milliseconds) -> seconds."""
    parts = (part.strip().partition(";dur=") for part in text.split(","))
    return {name: float(milliseconds) / 1000 for name, _, milliseconds in parts if milliseconds}
