"""What a segmentation request asks for: query or form parameters, the answer's format; and its deadline."""

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from adaptseg_serve.errors import BadParameter, NotAcceptable
from adaptseg_serve.segmentation import WantedSize

Ids = Literal["train", "label"]
Render = Literal["labels", "color", "overlay"]
MediaType = Literal["image/png", "image/jpeg", "application/octet-stream", "application/json"]

# Formats by rendering, the server's favourite first. JPEG would change the numbers of a label map.
FORMATS: Mapping[Render, tuple[MediaType, ...]] = {
    "labels": ("image/png", "application/octet-stream", "application/json"),
    "color": ("image/png", "image/jpeg"),
    "overlay": ("image/png", "image/jpeg"),
}
WITH_MAPS: tuple[MediaType, ...] = ("application/json", "application/octet-stream")
"""What can carry a map beside the label map."""
MAPS = ("confidence", "entropy")
INCLUDABLE = (*MAPS, "shares")
NAMES = ("ids", "render", "size", "include")
MAX_TIMEOUT_MS = 3_600_000


@dataclass(frozen=True)
class Wanted:
    """A request's parameters, checked."""

    ids: Ids = "train"
    render: Render = "labels"
    size: WantedSize = "input"
    include: frozenset[str] = frozenset()
    media_type: MediaType = "image/png"

    @property
    def maps(self) -> tuple[str, ...]:
        """The maps asked for beside the label map, in the order they are sent."""
        return tuple(name for name in MAPS if name in self.include)


def read_wanted(parameters: Mapping[str, str], headers: Mapping[str, str]) -> Wanted:
    """`parameters` (query and form together) and `headers` -> Wanted. Raises BadParameter or NotAcceptable."""
    _refuse_unknown(parameters)
    render: Render = _choice(parameters, "render", get_args(Render))
    ids: Ids = _choice(parameters, "ids", get_args(Ids))
    size: WantedSize = _choice(parameters, "size", get_args(WantedSize))
    include = _include(parameters.get("include", ""))
    return Wanted(
        ids=ids,
        render=render,
        size=size,
        include=include,
        media_type=negotiate(headers.get("accept", ""), render, not include.isdisjoint(MAPS)),
    )


def negotiate(accept: str, render: Render, with_maps: bool = False) -> MediaType:
    """The format of `FORMATS[render]` that the Accept header likes best; the server's order breaks ties.

    with_maps: only formats that can carry confidence or entropy beside a label map.
    """
    formats = WITH_MAPS if with_maps else FORMATS[render]
    if with_maps and render != "labels":
        raise BadParameter(f"include=confidence and include=entropy go with render=labels, not render={render}.")
    ranges = _ranges(accept) or [("*/*", 1.0)]
    best = max(formats, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        what = "include=confidence,entropy" if with_maps else f"render={render}"
        raise NotAcceptable(f"{what} is available as {', '.join(formats)}; Accept asks for {accept!r}.")
    return best


def _refuse_unknown(parameters: Mapping[str, str]) -> None:
    for name in parameters:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f" Perhaps you meant {near[0]!r}." if near else ""
            raise BadParameter(f"There is no parameter {name!r}; there are {', '.join(NAMES)}.{hint}")


def _choice(parameters: Mapping[str, str], name: str, choices: tuple[str, ...]) -> Any:
    value = parameters.get(name, choices[0])
    if value not in choices:
        raise BadParameter(f"{name}={value!r} must be one of {', '.join(choices)}.")
    return value


def _include(text: str) -> frozenset[str]:
    wanted = frozenset(part.strip() for part in text.split(",") if part.strip())
    for name in sorted(wanted - set(INCLUDABLE)):
        raise BadParameter(f"include={name!r} is unknown; available: {', '.join(INCLUDABLE)}.")
    return wanted


def read_deadline(text: str | None) -> float | None:
    """X-Request-Timeout-Ms, as it is when the request's head has come, as a deadline in time.monotonic() seconds."""
    if text is None:
        return None
    if len(text) > 9 or not text.isdecimal() or not 0 < int(text) <= MAX_TIMEOUT_MS:
        raise BadParameter(f"X-Request-Timeout-Ms={text!r} must be a whole number from 1 to {MAX_TIMEOUT_MS}.")
    return time.monotonic() + int(text) / 1000


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Media ranges of an Accept header with their q; what can't be read counts for nothing."""
    return [parsed for part in accept.split(",") if (parsed := _range(part)) is not None]


def _range(part: str) -> tuple[str, float] | None:
    media_range, *options = (piece.strip().lower() for piece in part.split(";"))
    quality = next((option[2:] for option in options if option.startswith("q=")), "1")
    try:
        return (media_range, min(1.0, max(0.0, float(quality)))) if media_range else None
    except ValueError:
        return None


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The q of the most specific range that matches."""
    for pattern in (media_type, media_type.split("/")[0] + "/*", "*/*"):
        matches = [quality for media_range, quality in ranges if media_range == pattern]
        if matches:
            return max(matches)
    return 0.0
