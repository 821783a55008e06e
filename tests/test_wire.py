"""The infer call's own reading and writing of messages, against protobuf's."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptseg_serve.grpc.stubs import inference_pb2 as pb
from adaptseg_serve.grpc.wire import InferResponse, read_request, write_response

RAW = st.lists(st.binary(max_size=300), max_size=3)
TAG = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=draw(st.text(max_size=9)), id=draw(st.text(max_size=200)))
    for shape in draw(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=3)):
        request.inputs.add(name="image", datatype="UINT8", shape=shape)
    if draw(st.booleans()):
        request.parameters["timeout"].int64_param = draw(st.integers(0, 2**63 - 1))
        request.parameters["share"].double_param = draw(st.floats(allow_nan=False))
    request.raw_input_contents.extend(draw(RAW))
    return request


@given(requests())
@settings(max_examples=200, deadline=None)
def test_a_request_is_what_protobuf_reads(request: pb.ModelInferRequest) -> None:
    found = read_request(request.SerializeToString())
    assert [bytes(raw) for raw in found.raw] == list(request.raw_input_contents)
    del request.raw_input_contents[:]
    assert found.message == request


@given(requests(), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_refused_where_protobuf_refuses_them(
    request: pb.ModelInferRequest, data: st.DataObject
) -> None:
    encoded = bytearray(request.SerializeToString() or b"\x0a\x01a")
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    try:
        expected = pb.ModelInferRequest.FromString(damaged)
    except DecodeError:
        with pytest.raises(DecodeError):
            read_request(damaged)
        return
    found = read_request(damaged)
    assert [bytes(raw) for raw in found.raw] == list(expected.raw_input_contents)


def test_tensors_are_views_of_what_came_and_may_come_first_and_last() -> None:
    rest = pb.ModelInferRequest(model_name="m", id="7").SerializeToString()
    first, last = (bytes([TAG, 3]) + each for each in (b"abc", b"xyz"))
    data = first + rest + last
    found = read_request(data)
    assert (found.message.model_name, found.message.id) == ("m", "7")
    assert [bytes(raw) for raw in found.raw] == [b"abc", b"xyz"]
    assert all(isinstance(raw, memoryview) and raw.obj is data for raw in found.raw)


def test_a_group_is_read_as_protobuf_reads_it() -> None:
    group = bytes([15 << 3 | 3, 1 << 3, 5, 15 << 3 | 4])  # field 15, unknown to the .proto file
    found = read_request(pb.ModelInferRequest(id="a", raw_input_contents=[b"xy"]).SerializeToString() + group)
    assert found.message.id == "a"
    assert list(found.raw) == [b"xy"]


@given(st.text(max_size=20), RAW)
@settings(max_examples=100, deadline=None)
def test_a_response_is_what_protobuf_writes(name: str, raw: list[bytes]) -> None:
    message = pb.ModelInferResponse(model_name=name)
    message.outputs.add(name="label_map", datatype="UINT8", shape=[1, 2, 3])
    written = write_response(InferResponse(message, [memoryview(each) for each in raw]))
    expected = pb.ModelInferResponse()
    expected.CopyFrom(message)
    expected.raw_output_contents.extend(raw)
    assert pb.ModelInferResponse.FromString(written) == expected
