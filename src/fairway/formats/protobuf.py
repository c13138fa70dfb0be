"""Protocol buffers by hand: messages described by a table are read from a mapped file, and written.

Knows no format. Reads what the table names and steps over everything else by its length. The rule: a length
is compared with the end of the message that holds it, and what is read has a bound in number and in depth.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fairway.errors import FormatError
from fairway.formats.source import Source

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000
"""In one file: ten times what the largest decoders need."""
MAX_DEPTH = 60
MAX_TEXT_BYTES = 1 << 20
HINT = "Download the file again, or export it again from the model's source."

Span: TypeAlias = tuple[int, int]
"""Bytes of the file: the first, and the one after the last."""
Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """`kind` is "int", "float", "text", "span" (where the bytes lie, unread) or the name of a message."""

    name: str
    kind: str
    many: bool = False


Schema: TypeAlias = Mapping[str, Mapping[int, Field]]
WIRE = {"int": VARINT, "float": FIXED32}


class Reader:
    """Messages of one file."""

    def __init__(self, source: Source, schema: Schema) -> None:
        self.source = source
        self.schema = schema
        self._data = source.data
        self._left = MAX_FIELDS

    def message(self, kind: str, span: Span, depth: int = 0) -> Message:
        """The fields of the message that lies there; lists for those that may be many."""
        if depth > MAX_DEPTH:
            raise self.error(f"nests messages more than {MAX_DEPTH} deep")
        table, data = self.schema[kind], self._data
        found: Message = {}
        position, end = span
        while position < end:
            tag, position = data[position], position + 1
            if tag > 0x7F:
                tag, position = self._varint(position - 1, end)
            start, position, value = self._value(tag & 7, position, end)
            self._spend(1)
            field = table.get(tag >> 3)
            if field is None:
                continue
            if field.many and (field.kind in WIRE and tag & 7 == BYTES):
                found.setdefault(field.name, []).extend(self._packed(field.kind, (start, position)))
                continue
            item = self._item(field, tag & 7, (start, position), value, depth)
            if field.many:
                found.setdefault(field.name, []).append(item)
            else:
                found[field.name] = item
        return found

    def error(self, problem: str) -> FormatError:
        return FormatError(f"{self.source.path} {problem}.", hint=HINT)

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise self.error(f"has more than {MAX_FIELDS:,} fields, which no model needs")

    def _value(self, wire: int, position: int, end: int) -> tuple[int, int, int]:
        """(first byte, byte after the last, number) of a field's value."""
        if wire == VARINT:
            value, after = self._varint(position, end)
            return position, after, value
        size = 0
        if wire == BYTES:
            if position < end and self._data[position] < 0x80:
                size, position = self._data[position], position + 1
            else:
                size, position = self._varint(position, end)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise self.error(f"has a field of the unknown kind {wire} at byte {position}")
        if position + size > end:
            raise self.error(
                f"claims {size} bytes at byte {position}, where {end - position} are left: it is cut short "
                "or not a model"
            )
        return position, position + size, 0

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """An unsigned number of at most 64 bits, and the byte after it."""
        data, value, shift = self._data, 0, 0
        while position < end and shift < 70:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position
            shift += 7
        problem = "ends inside a number" if position >= end else "has a number of more than 64 bits"
        raise self.error(f"{problem} at byte {position}")

    def _item(self, field: Field, wire: int, span: Span, value: int, depth: int) -> Any:  # noqa: ANN401
        if wire != WIRE.get(field.kind, BYTES):
            raise self.error(f"has {field.name} as a field of kind {wire} at byte {span[0]}")
        if field.kind == "int":
            return signed(value)
        if field.kind == "float":
            return struct.unpack("<f", self._data[span[0] : span[1]])[0]
        if field.kind == "span":
            return span
        if field.kind == "text":
            return self.text(span)
        return self.message(field.kind, span, depth + 1)

    def text(self, span: Span) -> str:
        begin, end = span
        if end - begin > MAX_TEXT_BYTES:
            raise self.error(f"has a name of {end - begin} bytes at byte {begin}")
        try:
            return bytes(self._data[begin:end]).decode("utf-8")
        except UnicodeDecodeError:
            raise self.error(f"has a name that is not UTF-8 at byte {begin}") from None

    def _packed(self, kind: str, span: Span) -> list[Any]:
        position, end = span
        if kind == "float":
            if (end - position) % 4:
                raise self.error(f"has a list of floats of {end - position} bytes at byte {position}")
            self._spend((end - position) // 4)
            return [value for (value,) in struct.iter_unpack("<f", self._data[position:end])]
        found = []
        while position < end:
            value, position = self._varint(position, end)
            self._spend(1)
            found.append(signed(value))
        return found


def signed(value: int) -> int:
    """64 bits as two's complement."""
    return value - (1 << 64) if value >> 63 else value


def encode(schema: Schema, kind: str, message: Mapping[str, Any]) -> bytes:
    """The bytes of a message: `Reader.message` turned round. Spans are given as bytes; None is left out."""
    parts: list[bytes] = []
    for number, field in schema[kind].items():
        value = message.get(field.name)
        if value is None:
            continue
        if field.many and field.kind in WIRE:
            packed = b"".join(_scalar(field.kind, item) for item in value)
            parts += [varint(number << 3 | BYTES), varint(len(packed)), packed]
            continue
        for item in value if field.many else (value,):
            parts += _field(schema, number, field.kind, item)
    return b"".join(parts)


def _field(schema: Schema, number: int, kind: str, value: Any) -> Iterable[bytes]:  # noqa: ANN401
    if kind in WIRE:
        return varint(number << 3 | WIRE[kind]), _scalar(kind, value)
    if kind == "text":
        raw = value.encode("utf-8")
    else:
        raw = value if kind == "span" else encode(schema, kind, value)
    return varint(number << 3 | BYTES), varint(len(raw)), raw


def _scalar(kind: str, value: float) -> bytes:
    return struct.pack("<f", value) if kind == "float" else varint(int(value))


def varint(value: int) -> bytes:
    """Seven bits to a byte, the lowest first; negative numbers as 64 bits."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
