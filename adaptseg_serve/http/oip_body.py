"""Bodies of the Open Inference Protocol over HTTP: JSON, alone or followed by the tensors' bytes (binary extension).

Inference-Header-Content-Length tells where the JSON ends; each input that is sent in binary says its size in the
parameter "binary_data_size". In JSON, UINT8 data is a list of numbers and BYTES data a list of base64 texts.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptseg_serve.errors import BadParameter, TooLarge
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.oip import OUTPUT, Tensor, check_count_of_numbers, check_outputs, output_bytes, output_shape
from adaptseg_serve.segmentation import Segmentation

HEADER_LENGTH = "Inference-Header-Content-Length"
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32

_NUMBERS = np.frombuffer(b"".join(f"{number},".encode().ljust(4, b"\0") for number in range(256)), np.uint32)
"""What JSON says of each uint8: its digits and a comma, filled up with zeros to four bytes."""
_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class InferRequest:
    """A request as read: its tensors, and how it wants its answer."""

    id: str
    tensors: tuple[Tensor, ...]
    binary: bool
    """Whether the label maps shall follow the JSON as bytes."""
    timeout: int
    """Microseconds; 0: none."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """`body` without its Content-Encoding; TooLarge before more than `max_bytes` exist."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise BadParameter(f"Content-Encoding {encoding!r} is not supported; send gzip, deflate, or none.")
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflate.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise BadParameter(f"The body is not {encoding}, as Content-Encoding says ({error}).") from None
    if len(plain) > max_bytes:
        raise TooLarge(f"The body has more than {max_bytes} bytes when decompressed. Send fewer or smaller images.")
    if not inflate.eof:
        raise BadParameter(f"The {encoding} body is cut short. Send it whole.")
    return plain


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """Parse a request body. BadParameter says which field is wrong and what it should be."""
    length = _length(body, header_length)
    check_count_of_numbers(body.count(b",", 0, length))  # at least as many, and before JSON makes them
    document = _document(body[:length])
    parameters = _get(document, "parameters", dict, {})
    outputs = [_object(o, "outputs") for o in _get(document, "outputs", list, [])]
    check_outputs([_get(o, "name", str) for o in outputs])
    return InferRequest(
        id=_get(document, "id", str, ""),
        tensors=tuple(_tensors(_get(document, "inputs", list), memoryview(body)[length:])),
        binary=_binary(outputs, parameters),
        timeout=_get(parameters, "timeout", int, 0),
    )


def write_answer(request: InferRequest, answers: Sequence[Segmentation], name: str, version: str) -> tuple[bytes, int]:
    """The answer's body, and the length of its JSON."""
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "UINT8", "shape": output_shape(answers)}
    document: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": [output]}
    if request.id:
        document["id"] = request.id
    if not request.binary:
        output["data"] = []
        body = _with_numbers(_json(document), answers)
        return body, len(body)
    data = output_bytes(answers)
    output["parameters"] = {"binary_data_size": len(data)}
    header = _json(document)
    return b"".join((header, data)), len(header)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _with_numbers(header: bytes, answers: Sequence[Segmentation]) -> bytes:
    """`header` with the label maps in its empty "data" list."""
    before, bracket, after = header.partition(b'"data":[')  # Inside a JSON text its quotes would be escaped.
    pieces = [piece for answer in answers for piece in _numbers(answer.label_map)]
    return b"".join((before, bracket, *pieces[:-1], pieces[-1][:-1], after))


def _numbers(label_map: LabelMap) -> Iterator[bytes]:
    """A label map's numbers as JSON, each with a comma after it, a few at a time.

    json.dumps would hold the interpreter until the last of them is written, and the event loop with it.
    """
    train_ids = np.ascontiguousarray(label_map).reshape(-1)
    for start in range(0, train_ids.size, _AT_ONCE):
        yield _NUMBERS.take(train_ids[start : start + _AT_ONCE]).tobytes().translate(None, b"\0")


def _length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if len(header_length) > 9 or not header_length.isdecimal() or int(header_length) > len(body):
        raise BadParameter(f"{HEADER_LENGTH} is {header_length!r}; it must be at most the body's {len(body)} bytes.")
    return int(header_length)


def _document(header: bytes) -> Mapping[str, Any]:
    try:
        return _object(json.loads(header), "body")
    except (ValueError, RecursionError) as error:
        raise BadParameter(
            f"The request is not JSON ({error}). Where tensors follow as bytes, {HEADER_LENGTH} must say where it ends."
        ) from None


def _tensors(inputs: Sequence[Any], binary: memoryview) -> Iterable[Tensor]:
    start = 0
    for entry in inputs:
        tensor = _object(entry, "inputs")
        size = _get(_get(tensor, "parameters", dict, {}), "binary_data_size", int, -1)
        raw = binary[start : start + size] if size >= 0 else None
        start += max(0, size)
        yield _tensor(tensor, raw)
    if start != len(binary):
        raise BadParameter(f"{len(binary)} bytes follow the JSON; the inputs' binary_data_size add up to {start}.")


def _tensor(tensor: Mapping[str, Any], raw: memoryview | None) -> Tensor:
    shape = _get(tensor, "shape", list)
    if not all(type(length) is int for length in shape):
        raise BadParameter(f"Field 'shape' is {str(shape)[:80]}; it must be a list of whole numbers.")
    name, datatype = _get(tensor, "name", str), _get(tensor, "datatype", str)
    values = _get(tensor, "data", list) if raw is None else None
    if values is not None and datatype == "BYTES":
        values = [_file(value) for value in values]
    return Tensor(name, datatype, tuple(shape), raw=raw, values=values)


def _file(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadParameter("BYTES data in JSON must be base64 of a JPEG or PNG file; or send it in binary.") from None


def _binary(outputs: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> bool:
    default = _get(parameters, "binary_data_output", bool, False)
    return any(_get(_get(o, "parameters", dict, {}), "binary_data", bool, default) for o in outputs or [{}])


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadParameter(f"{where!r} must hold JSON objects; it holds {str(value)[:40]!r}.")
    return value


def _get(mapping: Mapping[str, Any], key: str, kind: type, default: Any = ...) -> Any:
    value = mapping.get(key, default)
    if value is ...:
        raise BadParameter(f"Field {key!r} is missing from the request.")
    if type(value) is not kind:
        raise BadParameter(f"Field {key!r} must be of type {kind.__name__}; it is {type(value).__name__}.")
    return value
