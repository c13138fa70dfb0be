"""Protocol buffers by hand: messages described by a table are read from a mapped file, and written.

Knows no format. Reads what the table names and steps over everything else by its length. The rule: a length
is compared with the end of the message that holds it, and what is read has a bound in number and in depth.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
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
Data: TypeAlias = mmap.mmap | bytes
WIRE = {"int": VARINT, "float": FIXED32}
SIGN = 1 << 63
RARE = ("", False, "")
"""In place of a field that is none of the common ones."""
CUT_OUT = 1 << 16
"""Bytes of a message that are taken out of a mapped file to be read: it is twice as fast."""
REPEATED, MAX_SEEN = 40, 4096
"""Bytes of messages that tend to repeat, attributes above all, and how many of them are kept."""


class Reader:
    """Messages of one file. Equal small ones may be one object, so they are to be read and not changed."""

    def __init__(self, source: Source, schema: Schema) -> None:
        self.source = source
        self._schema = schema
        self._common = {kind: _common(table) for kind, table in schema.items()}
        self._left = MAX_FIELDS
        self._num_spans = 0
        self._seen: dict[tuple[str, bytes], Message] = {}

    def message(self, kind: str, span: Span) -> Message:
        """The fields of the message that lies there; lists for those that may be many."""
        data = self.source.data
        return self._message(kind, bytes(data) if isinstance(data, memoryview) else data, 0, span, 0)

    def error(self, problem: str) -> FormatError:
        return FormatError(f"{self.source.path} {problem}.", hint=HINT)

    def _message(self, kind: str, data: Data, base: int, span: Span, depth: int) -> Message:
        """`span` is one of `data`, whose first byte is the file's byte `base`. The hot path."""
        if depth > MAX_DEPTH:
            raise self.error(f"nests messages more than {MAX_DEPTH} deep")
        common, left = self._common[kind], self._left
        found: Message = {}
        (position, end), start = span, 0
        try:
            while position < end:
                left -= 1
                if left < 0:
                    raise self._too_many()
                name, many, sort = common.get(data[position], RARE)
                if not sort:
                    self._left = left
                    position = self._rare(kind, found, data, base, (position, end), depth)
                    left = self._left
                    continue
                start = position + 2
                size = data[start - 1] if start <= end else 0x80
                if size > 0x7F:
                    size, start = self._varint(data, base, position + 1, end)
                position = start if sort == "int" else start + size
                if position > end:
                    raise self._cut_short(size, base + start, end - start)
                if sort == "text" and size <= MAX_TEXT_BYTES:
                    value: Any = data[start:position].decode()
                elif sort == "int":
                    value = size if size < SIGN else size - 2 * SIGN
                elif sort in ("span", "text"):
                    value = self._item(sort, 0, data, base, (start, position), depth)
                else:
                    self._left = left
                    value = self._inner(sort, data, base, (start, position), depth + 1)
                    left = self._left
                if not many:
                    found[name] = value
                elif name in found:
                    found[name].append(value)
                else:
                    found[name] = [value]
        except UnicodeDecodeError:
            raise self.error(f"has a name that is not UTF-8 at byte {base + start}") from None
        self._left = left
        return found

    def _inner(self, kind: str, data: Data, base: int, span: Span, depth: int) -> Message:
        """A message in a message: cut out where that is faster, looked up where it was read before."""
        begin, end = span
        if end - begin > CUT_OUT or (end - begin > REPEATED and isinstance(data, bytes)):
            return self._message(kind, data, base, span, depth)
        raw = data[begin:end]
        if end - begin > REPEATED:
            return self._message(kind, raw, base + begin, (0, len(raw)), depth)
        known = self._seen.get((kind, raw))
        if known is not None:
            return known
        num_spans = self._num_spans
        found = self._message(kind, raw, base + begin, (0, len(raw)), depth)
        # A span is a place in the file: equal bytes elsewhere have another.
        if num_spans == self._num_spans and len(self._seen) < MAX_SEEN:
            self._seen[kind, raw] = found
        return found

    def _rare(self, kind: str, found: Message, data: Data, base: int, span: Span, depth: int) -> int:
        """A field that is none of the common ones: unknown, packed, a float, or of a higher number."""
        position, end = span
        tag, position = self._varint(data, base, position, end)
        field, wire = self._schema[kind].get(tag >> 3), tag & 7
        value, start = 0, position
        if wire == VARINT:
            value, position = self._varint(data, base, position, end)
        else:
            start, position = self._sized(wire, data, base, position, end)
        if field is None:
            return position
        if field.many and field.kind in WIRE and wire == BYTES:
            found.setdefault(field.name, []).extend(self._packed(field.kind, data, base, (start, position)))
            return position
        if wire != WIRE.get(field.kind, BYTES):
            raise self.error(f"has {field.name} as a field of kind {wire} at byte {base + start}")
        item = self._item(field.kind, value, data, base, (start, position), depth)
        if field.many:
            found.setdefault(field.name, []).append(item)
        else:
            found[field.name] = item
        return position

    def _item(self, kind: str, value: int, data: Data, base: int, span: Span, depth: int) -> Any:  # noqa: ANN401
        if kind == "int":
            return signed(value)
        if kind == "float":
            return struct.unpack("<f", data[span[0] : span[1]])[0]
        if kind == "span":
            self._num_spans += 1
            return base + span[0], base + span[1]
        if kind == "text":
            return self._text(data, base, span)
        return self._inner(kind, data, base, span, depth + 1)

    def _sized(self, wire: int, data: Data, base: int, position: int, end: int) -> Span:
        """Where the bytes of a field lie that is no number."""
        if wire == BYTES:
            size, position = self._varint(data, base, position, end)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise self.error(f"has a field of the unknown kind {wire} at byte {base + position}")
        if position + size > end:
            raise self._cut_short(size, base + position, end - position)
        return position, position + size

    def _varint(self, data: Data, base: int, position: int, end: int) -> Span:
        """An unsigned number of at most 64 bits, and the byte after it."""
        value, shift = 0, 0
        while position < end and shift < 70:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position
            shift += 7
        problem = "ends inside a number" if position >= end else "has a number of more than 64 bits"
        raise self.error(f"{problem} at byte {base + position}")

    def _text(self, data: Data, base: int, span: Span) -> str:
        begin, end = span
        if end - begin > MAX_TEXT_BYTES:
            raise self.error(f"has a name of {end - begin} bytes at byte {base + begin}")
        return data[begin:end].decode()

    def _packed(self, kind: str, data: Data, base: int, span: Span) -> list[Any]:
        position, end = span
        if kind == "float":
            if (end - position) % 4:
                raise self.error(f"has a list of floats of {end - position} bytes at byte {base + position}")
            self._spend((end - position) // 4)
            return [value for (value,) in struct.iter_unpack("<f", data[position:end])]
        found = []
        while position < end:
            value, position = self._varint(data, base, position, end)
            self._spend(1)
            found.append(signed(value))
        return found

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise self._too_many()

    def _too_many(self) -> FormatError:
        return self.error(f"has more than {MAX_FIELDS:,} fields, which no model needs")

    def _cut_short(self, size: int, place: int, left: int) -> FormatError:
        return self.error(
            f"claims {size} bytes at byte {place}, where {left} are left: it is cut short or not a model"
        )


def _common(table: Mapping[int, Field]) -> dict[int, tuple[str, bool, str]]:
    """(name, many, kind) of the fields whose tag is one byte and whose value is a number or has a length."""
    return {
        number << 3 | WIRE.get(field.kind, BYTES): (field.name, field.many, field.kind)
        for number, field in table.items()
        if number < 16 and field.kind != "float"
    }


def signed(value: int) -> int:
    """64 bits as two's complement."""
    return value if value < SIGN else value - 2 * SIGN


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
