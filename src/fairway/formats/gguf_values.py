"""GGUF's primitive values: integers, floats, strings and arrays, read at a moving position.

Knows the value types and their limits, not what the keys mean. The rule: a count or length is
compared with the bytes that are left before anything of that size is created.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np

from fairway.errors import FormatError
from fairway.formats.source import Source

MAX_METADATA_BYTES = 32 << 20
"""The largest vocabularies take 16 MB. Text may need four bytes in memory for one in the file."""
MAX_STRING_BYTES = 24 << 20
MAX_NAME_BYTES = 65_535
MAX_ELEMENTS = 2_000_000
"""Array elements of one file together; the largest vocabularies need 1.4 million."""
MAX_DEPTH = 4
HINT = "Download the file again, or convert the model again."

Value: TypeAlias = "int | float | str | list[Value]"

NUMBERS = {
    0: ("UINT8", "<B"), 1: ("INT8", "<b"), 2: ("UINT16", "<H"), 3: ("INT16", "<h"),
    4: ("UINT32", "<I"), 5: ("INT32", "<i"), 10: ("UINT64", "<Q"), 11: ("INT64", "<q"),
    6: ("FLOAT32", "<f"), 12: ("FLOAT64", "<d"),
}  # fmt: skip
BOOL, STRING, ARRAY = 7, 8, 9
SMALLEST = {BOOL: 1, STRING: 8, ARRAY: 12} | {
    key: struct.calcsize(code) for key, (_, code) in NUMBERS.items()
}
"""Bytes that one value of a type takes at least."""


class Cursor:
    """Reads values one after another from a mapped file."""

    def __init__(self, source: Source, position: int = 0) -> None:
        self.source = source
        self.data = source.data
        self.position = position
        self.elements_left = MAX_ELEMENTS

    @property
    def left(self) -> int:
        return self.source.size - self.position

    def error(self, problem: str) -> FormatError:
        return FormatError(f"{self.source.path} {problem}, at byte {self.position}.", hint=HINT)

    def u32(self) -> int:
        return int(self.number("<I"))

    def u64(self) -> int:
        return int(self.number("<Q"))

    def number(self, code: str) -> int | float:
        size = struct.calcsize(code)
        if self.left < size:
            raise self.error("is cut short in its header")
        value: int | float = struct.unpack_from(code, self.data, self.position)[0]
        self.position += size
        return value

    def string(self, max_bytes: int = MAX_STRING_BYTES) -> str:
        size = self.u64()
        if size > self.left or size > max_bytes:
            raise self.error(f"has a string of {size} bytes, {min(self.left, max_bytes)} are possible")
        try:
            text = str(self.data[self.position : self.position + size], "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"has a string that is not UTF-8 ({error.reason})") from None
        self.position += size
        return text

    def value(self, kind: int, depth: int = 0) -> Value:
        if kind in NUMBERS:
            return self.number(NUMBERS[kind][1])
        if kind == BOOL:
            return self._bool()
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array(depth)
        raise self.error(f"has a value of the unknown type {kind}")

    def _bool(self) -> bool:
        byte = self.number("<B")
        if byte > 1:
            raise self.error(f"has a boolean with the value {byte}")
        return bool(byte)

    def _array(self, depth: int) -> list[Value]:
        if depth == MAX_DEPTH:
            raise self.error("has arrays nested too deeply")
        kind, count = self.u32(), self.u64()
        if kind not in SMALLEST:
            raise self.error(f"has an array of the unknown type {kind}")
        if count * SMALLEST[kind] > self.left:
            raise self.error(f"has an array of {count} values, more than the file can hold")
        self.elements_left -= count
        if self.elements_left < 0:
            raise self.error(f"has more than {MAX_ELEMENTS} array values, more than any model needs")
        if kind in NUMBERS:
            return self._numbers(NUMBERS[kind][1], count)
        if kind == STRING:
            return self._strings(count)
        return [self.value(kind, depth + 1) for _ in range(count)]

    def _numbers(self, code: str, count: int) -> list[Value]:
        if not count:
            return []
        values = np.frombuffer(self.data, np.dtype(code), count, self.position)
        self.position += values.nbytes
        return list(values.tolist())

    def _strings(self, count: int) -> list[Value]:
        """As `string`, count times; written out because vocabularies have half a million."""
        data, position, end = self.data, self.position, self.source.size
        length_at = struct.Struct("<Q").unpack_from
        texts: list[Value] = []
        try:
            for _ in range(count):
                start = position + 8
                position = start + length_at(data, position)[0]
                if position > end or position - start > MAX_STRING_BYTES:
                    raise self.error("has an array with a string longer than the file")
                texts.append(str(data[start:position], "utf-8"))
        except struct.error:
            raise self.error("is cut short in an array of strings") from None
        except UnicodeDecodeError as error:
            raise self.error(f"has a string that is not UTF-8 ({error.reason})") from None
        self.position = position
        return texts
