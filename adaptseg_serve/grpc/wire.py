"""Large bytes fields without copies: protobuf reads and writes the rest of a message, and they stay where they are.

protobuf copies a bytes field once when it parses a message and once more when it is asked for it, and once when it
serialises one: for a frame of 1.5 MB a third of a millisecond and more, of the three that a call takes.
The encoding is https://protobuf.dev/programming-guides/encoding: fields in any order, each a tag and a value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

_LENGTH = 2
"""The wire type of bytes, strings and messages."""
_CUT_SHORT = "The message ends inside a field."
MOST_FIELDS = 64
"""Of a message with a large one in it. One of a million empty fields would hold up the event loop for seconds, and
its hundred bytes of memory for each of their two would fill the machine's."""
MOST_ODD_BYTES = 1 << 16
"""Of a message that protobuf must read by itself, however many fields it has."""

HEADS, HEAD_BYTES = 32, 512
"""What a client sends beside a frame is the same from frame to frame: so many of such heads are parsed but once."""
FEW_BYTES = 4096
"""Without its large field a message is smaller, but for tensors that come as numbers; then its fields are counted."""
MOST_FIELDS_IN_ALL = 1024
"""Of the messages in a message together, each of which has at most MOST_FIELDS."""

Raw = bytes | memoryview
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Parted(Generic[M]):
    """A message, and beside it the values of its large field, which the message itself is without."""

    message: M
    raw: Sequence[Raw] = ()
    notes: dict[Any, Any] = field(default_factory=dict)
    """What was worked out from the message alone; requests that share the message share them."""

    @property
    def value(self) -> Raw:
        """Of a field that isn't repeated; b"" where it is unset."""
        return self.raw[-1] if self.raw else b""


class LargeField(Generic[M]):
    """A bytes field of `kind`: `path` names the message fields that lead to it, none of them repeated, and itself."""

    def __init__(self, kind: type[M], *path: str) -> None:
        self._kind, self._path = kind, path
        self._shared = lru_cache(maxsize=HEADS)(self._parse)
        self._numbers: list[int] = []
        descriptor: Any = kind.DESCRIPTOR
        for name in path:
            found = descriptor.fields_by_name[name]
            self._numbers.append(found.number)
            descriptor = found.message_type

    def read(self, data: bytes) -> Parted[M]:
        """The message that `data` encodes, which nobody may change: requests that differ in the field's values alone
        share it. The values are views of `data`. DecodeError where protobuf raises it."""
        try:
            rest, values = _cut(memoryview(data), self._numbers)
        except _ForProtobuf:
            if len(data) > MOST_ODD_BYTES:
                raise DecodeError(f"A message of more than {MOST_ODD_BYTES} bytes must be in one piece.") from None
            return self._read_whole(data)
        encoded = b"".join(rest)
        if len(encoded) > FEW_BYTES:
            _count_fields(memoryview(encoded), self._kind.DESCRIPTOR, MOST_FIELDS_IN_ALL)
        message, held, notes = (self._shared if len(encoded) <= HEAD_BYTES else self._parse)(encoded)
        return Parted(message, values if held else (), notes)

    def write(self, parted: Parted[M]) -> bytes:
        """The encoding of the message with the values in it. The messages around the field must be set."""
        encoded = parted.message.SerializeToString()
        return b"".join(_grown(memoryview(encoded), self._numbers, parted.raw)) if parted.raw else encoded

    def _parse(self, encoded: bytes) -> tuple[M, bool, dict[Any, Any]]:
        """The message, whether it has what the field is in, and room for notes."""
        message = self._kind.FromString(encoded)
        return message, self._holder(message) is not None, {}

    def _read_whole(self, data: bytes) -> Parted[M]:
        message = self._kind.FromString(data)
        holder, name = self._holder(message), self._path[-1]
        if holder is None:
            return Parted(message)
        found = getattr(holder, name)
        values = (found,) if isinstance(found, bytes) else tuple(found)
        holder.ClearField(name)
        return Parted(message, values)

    def _holder(self, message: M) -> Message | None:
        """The message that has the field; None where it, or one around it, is unset."""
        holder: Message = message
        for name in self._path[:-1]:
            if not holder.HasField(name):
                return None
            holder = getattr(holder, name)
        return holder


class _ForProtobuf(Exception):
    """Nobody writes such a message, and protobuf knows what it means."""


def _cut(view: memoryview, path: Sequence[int]) -> tuple[list[Raw], list[memoryview]]:
    """What `view` encodes without the field at `path`, in pieces; and the field's values."""
    wanted, deeper = path[0] << 3 | _LENGTH, path[1:]
    rest, values, kept = list[Raw](), list[memoryview](), 0
    for tag, start, value, end in _fields(view):
        if tag != wanted:
            continue
        rest.append(view[kept:start])
        kept = end
        if not deeper:
            values.append(view[value:end])
        elif len(rest) > 1:
            raise _ForProtobuf  # two pieces of one message; of a oneof, another may lie between them
        else:
            inner, values = _cut(view[value:end], deeper)
            left = b"".join(inner)
            rest[0] = b"".join([rest[0], _head(path[0], len(left)), left])
    rest.append(view[kept:])
    return rest, values


def _count_fields(view: memoryview, kind: Any, most: int) -> int:
    """How many of `most` fields are left after those of `view`, a message of descriptor `kind`; DecodeError if none."""
    for tag, _, value, end in _fields(view):
        most -= 1
        field = kind.fields_by_number.get(tag >> 3)
        if tag & 7 == _LENGTH and field is not None and field.message_type is not None:
            most = _count_fields(view[value:end], field.message_type, most)
        if most < 0:
            raise DecodeError(f"The message has more than {MOST_FIELDS_IN_ALL} fields.")
    return most


def _grown(view: memoryview, path: Sequence[int], values: Sequence[Raw]) -> list[Raw]:
    """What `view` encodes with `values` in the field at `path`, in pieces."""
    if len(path) == 1:
        return [view, *(part for value in values for part in (_head(path[0], memoryview(value).nbytes), value))]
    for tag, start, value, end in _fields(view):
        if tag == path[0] << 3 | _LENGTH:
            inner = _grown(view[value:end], path[1:], values)
            return [view[:start], _head(path[0], sum(memoryview(part).nbytes for part in inner)), *inner, view[end:]]
    raise ValueError(f"field {path[0]}, which holds the large one, is unset")


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Of each field its tag, where that begins, where its value begins, and where it ends."""
    at = 0
    for _ in range(MOST_FIELDS):
        if at == len(view):
            return
        start = at
        tag, value = _varint(view, at)
        match tag & 7:
            case 0:
                _, at = _varint(view, value)
            case 1:
                at = value + 8
            case 2:
                length, value = _varint(view, value)
                at = value + length
            case 5:
                at = value + 4
            case _:
                raise _ForProtobuf  # groups
        if at > len(view):
            raise DecodeError(_CUT_SHORT)
        yield tag, start, value, at
    raise DecodeError(f"The message has more than {MOST_FIELDS} fields.")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, lowest first, and where it ends."""
    if at < len(view) and view[at] < 0x80:  # nearly all of them
        return view[at], at + 1
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


def _head(number: int, length: int) -> bytes:
    """What stands before a value of `length` bytes of field `number`."""
    return _encoded(number << 3 | _LENGTH) + _encoded(length)


def _encoded(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
