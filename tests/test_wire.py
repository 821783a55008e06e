"""Our own reading and writing of large fields, against protobuf's."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptseg_serve.grpc import large_fields, parting, wire
from adaptseg_serve.grpc.stubs import inference_pb2 as oip
from adaptseg_serve.grpc.stubs.adaptseg.v1 import segmentation_pb2 as own
from adaptseg_serve.grpc.wire import LargeField, Parted

RAW = st.lists(st.binary(max_size=300), max_size=3)
SIDES = st.integers(0, 2**32 - 1)
IMAGES = st.one_of(
    st.just(own.Image()),
    st.builds(own.Image, encoded=st.binary(max_size=200)),
    st.builds(own.Image, raw=st.builds(own.RawImage, height=SIDES, width=SIDES, rgb=st.binary(max_size=300))),
)
LABEL_MAPS = st.builds(own.LabelMap, height=SIDES, width=SIDES, train_ids=st.binary(max_size=300))
DROPPED = st.builds(own.DroppedFrame, frame_id=st.integers(0, 2**64 - 1), detail=st.text(max_size=9))


@st.composite
def infer_requests(draw: st.DrawFn) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=draw(st.text(max_size=9)), id=draw(st.text(max_size=200)))
    for shape in draw(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=3)):
        request.inputs.add(name="image", datatype="UINT8", shape=shape)
    if draw(st.booleans()):
        request.parameters["timeout"].int64_param = draw(st.integers(0, 2**63 - 1))
        request.parameters["share"].double_param = draw(st.floats(allow_nan=False))
    request.raw_input_contents.extend(draw(RAW))
    return request


@st.composite
def infer_responses(draw: st.DrawFn) -> oip.ModelInferResponse:
    response = oip.ModelInferResponse(model_name=draw(st.text(max_size=9)), raw_output_contents=draw(RAW))
    response.outputs.add(name="label_map", datatype="UINT8", shape=[1, 2, 3])
    return response


MESSAGES: list[tuple[LargeField[Any], tuple[str, ...], st.SearchStrategy[Message]]] = [
    (parting.INFER_REQUEST, ("raw_input_contents",), infer_requests()),
    (parting.INFER_RESPONSE, ("raw_output_contents",), infer_responses()),
    (
        parting.STREAM_INFER_RESPONSE,
        ("infer_response", "raw_output_contents"),
        st.builds(oip.ModelStreamInferResponse, infer_response=infer_responses())
        | st.builds(oip.ModelStreamInferResponse, error_message=st.text(max_size=9)),
    ),
    (
        large_fields.SEGMENT_REQUEST,
        ("image", "raw", "rgb"),
        st.builds(own.SegmentRequest, image=IMAGES, size=st.integers(0, 2)),
    ),
    (
        large_fields.SEGMENT_RESPONSE,
        ("label_map", "train_ids"),
        st.builds(own.SegmentResponse, label_map=LABEL_MAPS, model_version=st.text(max_size=9)),
    ),
    (
        large_fields.FRAME_REQUEST,
        ("image", "raw", "rgb"),
        st.builds(own.StreamSegmentRequest, frame_id=st.integers(0, 2**64 - 1), image=IMAGES),
    ),
    (
        large_fields.FRAME_RESPONSE,
        ("result", "label_map", "train_ids"),
        st.builds(own.StreamSegmentResponse, result=st.builds(own.FrameResult, label_map=LABEL_MAPS))
        | st.builds(own.StreamSegmentResponse, dropped=DROPPED),
    ),
]
KINDS = st.sampled_from(MESSAGES)


def values(message: Message, path: Sequence[str]) -> list[bytes]:
    """Of the field, by protobuf; an unset one of its own right (not repeated) counts as none."""
    found: Any = message
    for name in path:
        found = getattr(found, name)
    return list(found) if not isinstance(found, bytes) else [found] if found else []


def without(message: Message, path: Sequence[str]) -> Message:
    rest = type(message).FromString(message.SerializeToString())
    holder = rest
    for name in path[:-1]:
        if not holder.HasField(name):
            return rest
        holder = getattr(holder, name)
    holder.ClearField(path[-1])
    return rest


def seen(parted: Parted[Any], path: Sequence[str]) -> list[bytes]:
    """What a handler sees of the field: of one that isn't repeated the last value."""
    repeated = path[-1].startswith("raw_")
    raws = parted.raw if repeated else [parted.value] if len(parted.value) else []
    return [bytes(raw) for raw in raws]


@given(KINDS, st.data())
@settings(max_examples=500, deadline=None)
def test_a_message_is_what_protobuf_reads(kind: Any, data: st.DataObject) -> None:
    large, path, messages = kind
    message = data.draw(messages)
    found = large.read(message.SerializeToString())
    assert seen(found, path) == values(message, path)
    assert found.message == without(message, path)


@given(KINDS, st.data())
@settings(max_examples=500, deadline=None)
def test_a_message_is_what_protobuf_writes(kind: Any, data: st.DataObject) -> None:
    large, path, messages = kind
    message = data.draw(messages)
    written = large.write(Parted(without(message, path), [memoryview(each) for each in values(message, path)]))
    assert type(message).FromString(written) == message
    assert large.read(written).message == without(message, path), "and we read what we wrote"


@given(KINDS, st.data())
@settings(max_examples=800, deadline=None)
def test_damaged_bytes_are_refused_where_protobuf_refuses_them(kind: Any, data: st.DataObject) -> None:
    large, path, messages = kind
    encoded = bytearray(data.draw(messages).SerializeToString() or b"\x0a\x01a")
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    assert_alike(large, path, bytes(encoded[: data.draw(st.integers(0, len(encoded)))]))


@given(KINDS, st.data())
@settings(max_examples=300, deadline=None)
def test_a_message_in_several_pieces_is_what_protobuf_makes_of_them(kind: Any, data: st.DataObject) -> None:
    large, path, messages = kind
    assert_alike(large, path, b"".join(m.SerializeToString() for m in data.draw(st.lists(messages, max_size=3))))


def assert_alike(large: LargeField[Any], path: Sequence[str], encoded: bytes) -> None:
    """We read `encoded` as protobuf does, or refuse it as protobuf does."""
    kind = large.read(b"").message.__class__
    try:
        expected = kind.FromString(encoded)
    except DecodeError:
        with pytest.raises(DecodeError):
            large.read(encoded)
        return
    found = large.read(encoded)
    assert seen(found, path) == values(expected, path)
    rest = without(expected, path)
    assert found.message.SerializeToString(deterministic=True) == rest.SerializeToString(deterministic=True)


def test_tensors_are_views_of_what_came_and_may_come_first_and_last() -> None:
    tag = oip.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2
    rest = oip.ModelInferRequest(model_name="m", id="7").SerializeToString()
    first, last = (bytes([tag, 3]) + each for each in (b"abc", b"xyz"))
    data = first + rest + last
    found = parting.INFER_REQUEST.read(data)
    assert (found.message.model_name, found.message.id) == ("m", "7")
    assert [bytes(raw) for raw in found.raw] == [b"abc", b"xyz"]
    assert all(isinstance(raw, memoryview) and raw.obj is data for raw in found.raw)


def test_pixels_are_a_view_of_what_came() -> None:
    request = own.SegmentRequest(image=own.Image(raw=own.RawImage(height=1, width=2, rgb=b"123456")), size=own.MODEL)
    data = request.SerializeToString()
    found = large_fields.SEGMENT_REQUEST.read(data)
    assert isinstance(found.value, memoryview)
    assert found.value.obj is data
    assert (bytes(found.value), found.message.image.raw.width, found.message.size) == (b"123456", 2, own.MODEL)


def test_a_group_is_read_as_protobuf_reads_it() -> None:
    group = bytes([15 << 3 | 3, 1 << 3, 5, 15 << 3 | 4])  # field 15, unknown to the .proto file
    request = oip.ModelInferRequest(id="a", raw_input_contents=[b"xy"])
    found = parting.INFER_REQUEST.read(request.SerializeToString() + group)
    assert found.message.id == "a"
    assert list(found.raw) == [b"xy"]
    assert not found.message.raw_input_contents, "parted from it all the same"


@pytest.mark.parametrize("kind", ["inputs", "raw_input_contents"])
def test_a_message_of_very_many_fields_is_refused(kind: str) -> None:
    """Two bytes each, a hundred in memory: 16 MiB of them would be more than the machine has."""
    tag = oip.ModelInferRequest.DESCRIPTOR.fields_by_name[kind].number << 3 | 2
    encoded = oip.ModelInferRequest(id="a").SerializeToString()
    assert parting.INFER_REQUEST.read(encoded + bytes([tag, 0]) * (wire.MOST_FIELDS - 2)).message.id == "a"
    with pytest.raises(DecodeError, match="more than 64 fields"):
        parting.INFER_REQUEST.read(encoded + bytes([tag, 0]) * wire.MOST_FIELDS)


def test_only_a_short_message_may_be_odd() -> None:
    """What protobuf reads by itself is not counted, so a group in front would let the many fields in."""
    group, many = bytes([15 << 3 | 3, 15 << 3 | 4]), bytes([5 << 3 | 2, 0])
    assert parting.INFER_REQUEST.read(group + many * 100).message.inputs
    with pytest.raises(DecodeError, match="in one piece"):
        parting.INFER_REQUEST.read(group + many * (wire.MOST_ODD_BYTES // 2))


def test_a_value_without_the_messages_around_it_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="unset"):
        large_fields.FRAME_RESPONSE.write(Parted(own.StreamSegmentResponse(), [b"1"]))


def test_requests_that_differ_in_their_frames_alone_share_their_message() -> None:
    """A camera's client says the same with every frame; what a message is without its frame is read once."""
    frames = [b"123456", b"654321"]
    first, second = (
        parting.INFER_REQUEST.read(oip.ModelInferRequest(id="camera", raw_input_contents=[frame]).SerializeToString())
        for frame in frames
    )
    assert first.message is second.message
    assert first.notes is second.notes
    assert [bytes(found.raw[0]) for found in (first, second)] == frames
    other = parting.INFER_REQUEST.read(
        oip.ModelInferRequest(id="other", raw_input_contents=frames[:1]).SerializeToString()
    )
    assert other.message.id == "other"
    assert other.notes is not first.notes


def test_a_long_message_is_not_kept() -> None:
    encoded = oip.ModelInferRequest(id="x" * wire.HEAD_BYTES, raw_input_contents=[b"ab"]).SerializeToString()
    first, second = parting.INFER_REQUEST.read(encoded), parting.INFER_REQUEST.read(encoded)
    assert first.message == second.message
    assert first.message is not second.message
