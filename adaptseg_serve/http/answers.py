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
from adaptseg_serve.png import encode_palette_png
from adaptseg_serve.render import colors_of, encode_rgb, overlay
from adaptseg_serve.segmenter import Segmentation


def encode_answer(segmentation: Segmentation, wanted: Wanted, bundle: Bundle) -> Response:
    """The answer `wanted` describes. Takes milliseconds: run it in the codec pool."""
    shares = _shares(segmentation, bundle.labels) if _needs_shares(wanted) else {}
    body = _body(segmentation, wanted, bundle, shares)
    return Response(body, media_type=wanted.media_type, headers=_headers(segmentation, wanted, shares))


def class_rows(labels: LabelSet) -> list[dict[str, Any]]:
    """The classes, by train id, as JSON."""
    return [
        {"train_id": c.train_id, "name": c.name, "color": list(c.color), "label_id": c.label_id} for c in labels.classes
    ]


def _body(segmentation: Segmentation, wanted: Wanted, bundle: Bundle, shares: Mapping[str, float]) -> bytes:
    if wanted.render != "labels":
        return _picture(segmentation, wanted, bundle)
    label_map, palette = _numbered(segmentation.label_map, wanted, bundle.labels)
    match wanted.media_type:
        case "application/octet-stream":
            return label_map.tobytes()
        case "application/json":
            return _json(segmentation, wanted, bundle, encode_palette_png(label_map, palette), shares)
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


def _json(segmentation: Segmentation, wanted: Wanted, bundle: Bundle, png: bytes, shares: Mapping[str, float]) -> bytes:
    timings = segmentation.timings
    content = {
        "label_map": {
            "size": list(segmentation.label_map.shape),
            "ids": wanted.ids,
            "encoding": "png",
            "data": base64.b64encode(png).decode("ascii"),
        },
        "classes": class_rows(bundle.labels),
        "shares": shares,
        "model": {"name": bundle.name, "version": bundle.version},
        "timings": {"decode": timings.decode, "queue": timings.queue, "infer": timings.infer},
    }
    return json.dumps(content).encode()


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
    if "shares" in wanted.include:
        headers["X-Class-Shares"] = json.dumps(shares)
    return headers
