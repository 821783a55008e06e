"""Protobuf messages as bytes: as much of the format as a look into an ONNX file needs."""

from collections.abc import Iterator


def message(value: int | memoryview) -> memoryview:
    """The content of a field that holds text, bytes or a message; ValueError where it holds a number."""
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview, memoryview]]:
    """Number, value and encoding of each field of a protobuf message; IndexError or ValueError where it is none."""
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        # protobuf drops the bits above 32 and reads another field than is written: no writer sets them.
        if key >> 32:
            raise ValueError(f"a field number above 2**29 at byte {at}")
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value, data[start:at]
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + length > len(data):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(data)}")
        at += length
        yield number, data[at - length : at], data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number longer than 64 bits at byte {at}")
