"""Writes GGUF version 3: metadata, tensor table, aligned bytes; streaming, and never half a file.

Takes tensors under their GGUF names with their raw bytes (floats or quantised blocks); spelling
names is `gguf_names`' work. What it writes, `open_gguf` must accept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fairway.errors import InternalError
from fairway.formats.atomic import atomic_file
from fairway.formats.gguf import DEFAULT_ALIGNMENT, MAGIC
from fairway.formats.gguf_types import BY_NAME
from fairway.formats.gguf_values import ARRAY, BOOL, NUMBERS, STRING
from fairway.formats.layout import Layout, Sized
from fairway.tensors import Array

VERSION = 3
CODES = {name: (key, code) for key, (name, code) in NUMBERS.items()}


@dataclass(frozen=True)
class Number:
    """A number of a chosen type, where the default (UINT32, INT32, INT64 or FLOAT32) is not wanted."""

    type: str
    value: float


@dataclass(frozen=True)
class RawValue:
    """A value of another file, as `GgufFile.raw_value` gives it."""

    stored: bytes


MetadataValue: TypeAlias = "bool | int | float | str | Number | RawValue | list[MetadataValue]"


@dataclass(frozen=True)
class GgufData:
    """A tensor to write: shape outermost first; `chunks` yields the bytes in row order."""

    type: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[bytes | memoryview]]

    @property
    def num_bytes(self) -> int:
        kind = BY_NAME[self.type]
        return prod(self.shape) // kind.block_size * kind.block_bytes


def gguf_data(type_name: str, shape: tuple[int, ...], values: Array) -> GgufData:
    """An array in memory: float values, or the raw blocks of a quantised tensor as uint8."""
    return GgufData(type_name, shape, lambda: [np.ascontiguousarray(values).reshape(-1).view(np.uint8).data])


def write_gguf(
    path: Path,
    metadata: Mapping[str, MetadataValue],
    tensors: Mapping[str, GgufData],
    alignment: int = DEFAULT_ALIGNMENT,
) -> None:
    """Writes `path` atomically. `general.alignment` is added where it is not the default."""
    with atomic_file(path) as file:
        file.write(gguf_layout(metadata, tensors, alignment).header)
        for name, tensor in tensors.items():
            written = sum(file.write(chunk) for chunk in tensor.chunks())
            if written != tensor.num_bytes:
                raise InternalError(f"{name} gave {written} bytes, its shape needs {tensor.num_bytes}.")
            file.write(_padding(written, alignment))


def gguf_layout(
    metadata: Mapping[str, MetadataValue], tensors: Mapping[str, Sized], alignment: int = DEFAULT_ALIGNMENT
) -> Layout:
    """Where everything of a file will lie, before a byte of it is there."""
    if alignment != DEFAULT_ALIGNMENT:
        metadata = {**metadata, "general.alignment": alignment}
    header = _header(metadata, tensors, alignment)
    header += _padding(len(header), alignment)
    offsets, end = {}, len(header)
    for name, tensor in tensors.items():
        offsets[name] = end
        end += tensor.num_bytes + len(_padding(tensor.num_bytes, alignment))
    return Layout(header, offsets, end)


def _header(metadata: Mapping[str, MetadataValue], tensors: Mapping[str, Sized], alignment: int) -> bytes:
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        kind, packed = _value(value)
        parts += [_string(key), struct.pack("<I", kind), packed]
    offset = 0
    for name, tensor in tensors.items():
        sizes = tensor.shape[::-1]
        parts += [_string(name), struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)]
        parts.append(struct.pack("<IQ", BY_NAME[tensor.type].id, offset))
        offset += tensor.num_bytes + len(_padding(tensor.num_bytes, alignment))
    return b"".join(parts)


def _value(value: MetadataValue) -> tuple[int, bytes]:
    """Type id and bytes."""
    if isinstance(value, bool):
        return BOOL, struct.pack("<B", value)
    if isinstance(value, str):
        return STRING, _string(value)
    if isinstance(value, list):
        return ARRAY, _array(value)
    if isinstance(value, RawValue):
        return struct.unpack_from("<I", value.stored)[0], value.stored[4:]
    number = value if isinstance(value, Number) else Number(_number_type(value), value)
    kind, code = CODES[number.type]
    return kind, struct.pack(code, number.value)


def _array(values: list[MetadataValue]) -> bytes:
    """All of one type: integers become INT32 unless one of them needs more."""
    if values and all(type(value) is str for value in values):
        return struct.pack("<IQ", STRING, len(values)) + b"".join(_string(str(value)) for value in values)
    if values and all(type(value) is float for value in values):
        packed = np.array(values, "<f4").tobytes()
        return struct.pack("<IQ", CODES["FLOAT32"][0], len(values)) + packed
    if values and all(type(value) is int for value in values):
        numbers = np.array(values, "<i8")
        fits = numbers.min() >= -(1 << 31) and numbers.max() < 1 << 31
        packed = (numbers.astype("<i4") if fits else numbers).tobytes()
        return struct.pack("<IQ", CODES["INT32" if fits else "INT64"][0], len(values)) + packed
    pairs = [_value(value) for value in values]
    kinds = {kind for kind, _ in pairs} or {STRING}
    if len(kinds) > 1:
        raise InternalError("A GGUF array holds values of one type only.")
    return struct.pack("<IQ", kinds.pop(), len(pairs)) + b"".join(packed for _, packed in pairs)


def _number_type(value: float) -> str:
    if isinstance(value, float):
        return "FLOAT32"
    if 0 <= value < 1 << 32:
        return "UINT32"
    return "INT32" if -(1 << 31) <= value < 0 else "INT64"


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return struct.pack("<Q", len(encoded)) + encoded


def _padding(size: int, alignment: int) -> bytes:
    return b"\0" * (-size % alignment)
