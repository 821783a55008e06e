"""The OpenAPI document of our own routes, at /openapi.json; BentoML's, at /docs.json, has `POST /segment` alone.

Everything that is a fact elsewhere (parameters, formats, limits) is taken from there.
"""

from collections.abc import Sequence
from typing import Any, get_args

from adaptseg_serve._version import __version__
from adaptseg_serve.http.parameters import FORMATS, INCLUDABLE, MAX_TIMEOUT_MS, Ids, Render
from adaptseg_serve.http.problems import TYPE_PREFIX
from adaptseg_serve.segmentation import WantedSize

Json = dict[str, Any]

BINARY: Json = {"type": "string", "format": "binary"}
PROBLEM = "application/problem+json"
REFUSALS = {
    400: "The body can't be read as an image",
    406: "No format that Accept allows",
    413: "Too many bytes or too many pixels",
    415: "Neither JPEG nor PNG",
    422: "A parameter is wrong",
    503: "The queue is full, or the service is loading or draining: try again after Retry-After seconds",
    504: "The deadline passed",
}
"""Statuses of a segmentation request that went wrong, but for 401 where tokens are asked for."""


def document() -> Json:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "adaptseg-serve",
            "version": __version__,
            "description": "Label maps of road images.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/segment": {"post": _segment()},
            "/v1/labels": {"get": _get("labels", "What the numbers in a label map mean", LABELS)},
            "/v1/models": {"get": _get("models", "The bundle that is served", MODELS)},
            "/v2": {"get": _get("server", "Open Inference Protocol: the server", _object("name", "version"), False)},
            "/v2/health/live": {"get": _get("live", "Is the process alive?", _object(), False)},
            "/v2/health/ready": {"get": _get("ready", "Are requests answered?", _object(), False)},
            "/v2/models/{model}": {"get": _of_model("metadata", "Inputs and outputs")},
            "/v2/models/{model}/ready": {"get": _of_model("model_ready", "Is the model ready?")},
            "/v2/models/{model}/config": {"get": _of_model("config", "Batching, as Triton tells it")},
            "/v2/models/{model}/stats": {"get": _of_model("stats", "Counts and times, as Triton tells them")},
            "/v2/models/{model}/infer": {"post": _infer()},
        },
        "components": {"schemas": {"Problem": _problem(), "OipError": _object("error")}},
    }


def _segment() -> Json:
    formats = sorted({media_type for some in FORMATS.values() for media_type in some})
    return {
        "operationId": "segment",
        "summary": "The label map of an image",
        "description": "Accept chooses the format. A pixel of the PNG is a train id, its palette holds the colours.",
        "parameters": [
            _choice("ids", get_args(Ids), "train ids, or the data set's own label ids"),
            _choice("render", get_args(Render), "numbers, the classes' colours, or those over the image"),
            _choice("size", get_args(WantedSize), "the image's size, or that of the network's input"),
            {
                "name": "include",
                "in": "query",
                "style": "form",
                "explode": False,
                "description": "What else to answer. With confidence or entropy the answer is JSON or raw bytes",
                "schema": {"type": "array", "items": {"enum": list(INCLUDABLE)}},
            },
            {
                "name": "X-Request-Timeout-Ms",
                "in": "header",
                "description": "The deadline, counted from now",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MS},
            },
            {
                "name": "X-Request-Id",
                "in": "header",
                "description": "Comes back with the answer and stands in the log",
                "schema": {"type": "string", "maxLength": 128},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/jpeg": {"schema": BINARY},
                "image/png": {"schema": BINARY},
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"image": BINARY}, "required": ["image"]}
                },
            },
        },
        "responses": {
            "200": {
                "description": "The label map",
                "headers": {name: {"schema": {"type": "string"}} for name in ("Server-Timing", "X-Model-Version")},
                "content": {media_type: {"schema": _body(media_type)} for media_type in formats},
            },
            **_problems(REFUSALS),
        },
    }


def _body(media_type: str) -> Json:
    return _object("label_map", "classes", "shares", "model") if media_type == "application/json" else BINARY


def _get(name: str, summary: str, schema: Json, problems: bool = True) -> Json:
    unready = _problems({503: REFUSALS[503]}) if problems else {"503": _json("Loading or draining", _object())}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _json(summary, schema), **unready},
    }


def _of_model(name: str, summary: str) -> Json:
    responses = {"404": _no_model(_object()), "503": _json("Loading or draining", _object())}
    return {
        "operationId": name,
        "summary": f"Open Inference Protocol: {summary}",
        "parameters": [MODEL],
        "responses": {"200": _json(summary, _object()), **responses},
    }


def _infer() -> Json:
    statuses = {status: text for status, text in REFUSALS.items() if status != 406}
    error = {"$ref": "#/components/schemas/OipError"}
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"enum": ["image"]},
            "datatype": {"enum": ["UINT8", "BYTES"]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "data": {"type": "array"},
        },
    }
    inputs = {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1}
    request = {"type": "object", "required": ["inputs"], "properties": {"id": {"type": "string"}, "inputs": inputs}}
    return {
        "operationId": "infer",
        "summary": "Open Inference Protocol: label maps of a batch; tensors may follow the JSON in binary",
        "parameters": [MODEL],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {
                "description": "The label maps",
                "content": {
                    "application/json": {"schema": _object("model_name", "model_version", "outputs")},
                    "application/octet-stream": {"schema": BINARY},
                },
            },
            "404": _no_model(error),
            **{str(status): _json(text, error) for status, text in statuses.items()},
        },
    }


def _choice(name: str, choices: Sequence[str], description: str) -> Json:
    schema = {"enum": list(choices), "default": choices[0]}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _problems(statuses: dict[int, str]) -> Json:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": text, "content": content} for status, text in statuses.items()}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _no_model(schema: Json) -> Json:
    """BentoML's router answers by itself, in plain text, where a name has a line break in it."""
    answer = _json("There is no such model", schema)
    answer["content"]["text/plain"] = {"schema": {"type": "string"}}
    return answer


def _object(*required: str) -> Json:
    return {"type": "object", "required": list(required)} if required else {"type": "object"}


def _problem() -> Json:
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "pattern": f"^{TYPE_PREFIX}"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }


MODEL: Json = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
LABELS = _object("label_set", "ignore_id", "classes")
MODELS = _object("models")
