"""An infer call's tensors without copies: protobuf reads and writes all but the raw bytes, which stay where they are.

protobuf copies a bytes field once when it parses a message and once more when it is asked for it, and once when it
serialises one: for a frame of 1.5 MB a third of a millisecond and more, of the three that a call takes.
The encoding is https://protobuf.dev/programming-guides/encoding: fields in any order, each a tag and a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from adaptseg_serve.grpc.stubs import inference_pb2 as pb

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_RAW_INPUT = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_RAW_OUTPUT = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
_LENGTH = 2
"""The wire type of bytes, strings and messages."""
_CUT_SHORT = "The message ends inside a field."

Raw = bytes | memoryview


@dataclass(frozen=True)
class InferRequest:
    """A ModelInferRequest, its raw_input_contents beside it."""

    message: pb.ModelInferRequest
    raw: Sequence[Raw]


@dataclass(frozen=True)
class InferResponse:
    """A ModelInferResponse, its raw_output_contents beside it."""

    message: pb.ModelInferResponse
    raw: Sequence[Raw] = field(default_factory=tuple)


class RawTensors(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Hands ModelInfer an InferRequest, and sends the InferResponse that it gives."""

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None or details.method != _INFER:
            return handler
        return handler._replace(request_deserializer=read_request, response_serializer=write_response)


def read_request(data: bytes) -> InferRequest:
    """The request that `data` encodes; its raw tensors are views of `data`. Raises DecodeError where protobuf would."""
    view = memoryview(data)
    raw, rest, kept = list[memoryview](), list[memoryview](), 0
    at = 0
    while at < len(view):
        start = at
        tag, at = _varint(view, at)
        match tag & 7:
            case 0:
                _, at = _varint(view, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(view, at)
                at += length
                if tag >> 3 == _RAW_INPUT and at <= len(view):
                    raw.append(view[at - length : at])
                    rest.append(view[kept:start])
                    kept = at
            case 5:
                at += 4
            case _:  # groups, which nobody sends: protobuf knows what to do
                whole = pb.ModelInferRequest.FromString(data)
                return InferRequest(whole, whole.raw_input_contents)
    if at > len(view):
        raise DecodeError(_CUT_SHORT)
    return InferRequest(pb.ModelInferRequest.FromString(b"".join([*rest, view[kept:]])), raw)


def write_response(response: InferResponse) -> bytes:
    """The encoding of the message with the raw tensors in it."""
    parts: list[Raw] = [response.message.SerializeToString()]
    for tensor in response.raw:
        parts += [_encoded(_RAW_OUTPUT << 3 | _LENGTH) + _encoded(memoryview(tensor).nbytes), tensor]
    return b"".join(parts)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, lowest first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise DecodeError(_CUT_SHORT)
        byte = view[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise DecodeError("A number in the message has more than ten bytes.")


def _encoded(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
