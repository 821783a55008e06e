"""A Segmentation as an HTTP answer: palette PNG, raw bytes, JSON, or a picture for people."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from adaptseg_serve.bundle import Bundle
from adaptseg_serve.http.parameters import Wanted
from adaptseg_serve.labels import LabelMap, LabelSet
from adaptseg_serve.png import encode_grey_png, encode_palette_png
from adaptseg_serve.render import colors_of, encode_rgb, overlay
from adaptseg_serve.segmentation import Segmentation
from adaptseg_serve.uncertainty import to_bytes

Maps = Mapping[str, NDArray[np.uint8]]
"""Confidence and entropy by name, (H, W), 255 for 1."""


def encode_answer(segmentation: Segmentation, wanted: Wanted) -> Response:
    """The answer `wanted` describes. Takes milliseconds: run it in the codec pool."""
    bundle = segmentation.bundle
    shares = _shares(segmentation, bundle.labels) if _needs_shares(wanted) else {}
    maps = _maps(segmentation, wanted)
    body = _body(segmentation, wanted, bundle, shares, maps)
    return Response(body, media_type=wanted.media_type, headers=_headers(segmentation, wanted, shares))


def class_rows(labels: LabelSet) -> list[dict[str, Any]]:
    """The classes, by train id, as JSON."""
    return [
        {"train_id": c.train_id, "name": c.name, "color": list(c.color), "label_id": c.label_id} for c in labels.classes
    ]


def _maps(segmentation: Segmentation, wanted: Wanted) -> Maps:
    """The maps asked for, 0..1 in steps of 1/255."""
    if not wanted.maps:
        return {}
    assert segmentation.scored is not None, "segment() asked for the logits"
    found = segmentation.scored.uncertainty()
    return {name: to_bytes(getattr(found, name)) for name in wanted.maps}


def _body(segmentation: Segmentation, wanted: Wanted, bundle: Bundle, shares: Mapping[str, float], maps: Maps) -> bytes:
    if wanted.render != "labels":
        return _picture(segmentation, wanted, bundle)
    label_map, palette = _numbered(segmentation.label_map, wanted, bundle.labels)
    match wanted.media_type:
        case "application/octet-stream":
            return b"".join((label_map.tobytes(), *(values.tobytes() for values in maps.values())))
        case "application/json":
            return _json(segmentation, wanted, bundle, encode_palette_png(label_map, palette), shares, maps)
    return encode_palette_png(label_map, palette)


def _numbered(label_map: LabelMap, wanted: Wanted, labels: LabelSet) -> tuple[LabelMap, NDArray[np.uint8]]:
    """The label map in the ids asked for, and the palette that fits them."""
    palette = labels.palette()
    if wanted.ids == "train":
        return label_map, palette
    by_label_id = np.zeros_like(palette)
    for c in labels.classes:
        by_label_id[c.label_id] = c.color
    return labels.to_label_ids()[label_map], by_label_id


def _picture(segmentation: Segmentation, wanted: Wanted, bundle: Bundle) -> bytes:
    palette = bundle.labels.palette()
    if wanted.render == "color":
        picture = colors_of(segmentation.label_map, palette)
    else:
        assert segmentation.image is not None
        image = segmentation.image if wanted.size == "input" else bundle.preprocess.resize_image(segmentation.image)
        picture = overlay(image, segmentation.label_map, palette)
    return encode_rgb(picture, "jpeg" if wanted.media_type == "image/jpeg" else "png")


def _json(
    segmentation: Segmentation, wanted: Wanted, bundle: Bundle, png: bytes, shares: Mapping[str, float], maps: Maps
) -> bytes:
    timings = segmentation.timings
    content = {
        "label_map": {
            "size": list(segmentation.label_map.shape),
            "ids": wanted.ids,
            "encoding": "png",
            "data": base64.b64encode(png).decode("ascii"),
        },
        **{name: _map_row(values) for name, values in maps.items()},
        "classes": class_rows(bundle.labels),
        "shares": shares,
        "model": {"name": bundle.name, "version": bundle.version},
        "timings": {"decode": timings.decode, "queue": timings.queue, "infer": timings.infer},
    }
    return json.dumps(content).encode()


def _map_row(values: NDArray[np.uint8]) -> dict[str, Any]:
    """A map as JSON: a grey PNG whose value 255 stands for 1, and the map's mean."""
    data = base64.b64encode(encode_grey_png(values)).decode("ascii")
    return {"mean": round(float(values.mean()) / 255, 6), "size": list(values.shape), "encoding": "png", "data": data}


def _needs_shares(wanted: Wanted) -> bool:
    return "shares" in wanted.include or wanted.media_type == "application/json"


def _shares(segmentation: Segmentation, labels: LabelSet) -> dict[str, float]:
    shares = segmentation.shares()
    return {c.name: round(float(shares[c.train_id]), 6) for c in labels.classes}


def _headers(segmentation: Segmentation, wanted: Wanted, shares: Mapping[str, float]) -> dict[str, str]:
    height, width = segmentation.label_map.shape
    headers = {"X-Label-Map-Height": str(height), "X-Label-Map-Width": str(width), "Vary": "Accept"}
    if wanted.media_type == "application/octet-stream":
        headers["X-Label-Map-Dtype"] = "uint8"
        headers["X-Planes"] = ",".join(("labels", *wanted.maps))
    if "shares" in wanted.include:
        headers["X-Class-Shares"] = json.dumps(shares)
    return headers
