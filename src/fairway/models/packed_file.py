"""Packed weights as a file: a header, matrices and vectors on cache lines, then a table of them.

    0   8 bytes   FAIRWAYW
    8   u32       version of this format
    12  u32       layout of the matrices, see kernels/packing.py
    16  u64       where the table begins and the payload ends
    24  u64       bytes of the table, which ends the file
    32  32 bytes  SHA-256 of the 32 bytes before and of the table
    64  payload

All numbers are little-endian, the table is JSON. The header is written last, so a file that was
not finished has none; a reader believes no length that the file does not have.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from math import prod
from typing import Any

import numpy as np

from fairway.errors import FormatError
from fairway.kernels.extension import native
from fairway.kernels.packing import LAYOUT, Form
from fairway.kernels.program import Matrix
from fairway.tensors import F32

FORMAT = 1
MAGIC = b"FAIRWAYW"
START = struct.Struct("<8sIIQQ")
HEADER_BYTES = 64
ALIGNMENT = 64
MAX_TABLE_BYTES = 64 << 20
CHUNK_BYTES = 8 << 20
"""Written at once, and at multiples of it: then the page cache of Linux holds the file in huge pages."""


class PackedWriter:
    """Writes a file in one pass. `descriptor` is an empty file that nobody else writes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunk = bytearray(CHUNK_BYTES)
        self._filled = 0
        self._written = 0
        self._entries: dict[str, Any] = {}
        self._append(bytes(HEADER_BYTES))

    def matrices(self, name: str, matrices: Sequence[Matrix]) -> None:
        """Matrices of the native backend, under one name."""
        self._entries[name] = [self._matrix(matrix) for matrix in matrices]

    def repeat(self, name: str, written: str) -> None:
        """What was written under one name, under another."""
        self._entries[name] = self._entries[written]

    def floats(self, name: str, values: F32) -> None:
        offset = self._append(np.ascontiguousarray(values, "<f4").tobytes())
        self._entries[name] = {"shape": list(values.shape), "offset": offset}

    def finish(self, about: Mapping[str, Any]) -> None:
        """The table and, once everything is on the disk, the header that makes it valid."""
        table_at = self._append(b"")
        table = json.dumps({"about": dict(about), "entries": self._entries}).encode()
        self._append(table)
        self._flush()
        os.fsync(self._descriptor)
        start = START.pack(MAGIC, FORMAT, LAYOUT, table_at, len(table))
        os.pwrite(self._descriptor, start + hashlib.sha256(start + table).digest(), 0)
        os.fsync(self._descriptor)

    def _matrix(self, matrix: Matrix) -> dict[str, Any]:
        assert isinstance(matrix, native.Matrix)
        return {"form": list(astuple(Form.of(matrix))), "offset": self._append(matrix.packed.data)}

    def _append(self, data: bytes | memoryview) -> int:
        """Where the bytes begin, on a cache line."""
        self._fill(bytes(-(self._written + self._filled) % ALIGNMENT))
        begin = self._written + self._filled
        self._fill(data)
        return begin

    def _fill(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            count = min(len(view), CHUNK_BYTES - self._filled)
            self._chunk[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == CHUNK_BYTES:
                self._flush()

    def _flush(self) -> None:
        view = memoryview(self._chunk)[: self._filled]
        while len(view):
            view = view[os.write(self._descriptor, view) :]
        self._written += self._filled
        self._filled = 0


class PackedFile:
    """A checked file, mapped: matrices are views of pages that all processes share.

    `descriptor` may be closed afterwards. Raises `FormatError` for anything that is not whole.
    """

    def __init__(self, descriptor: int) -> None:
        self.num_bytes = os.fstat(descriptor).st_size
        table = read_table(descriptor)
        self.about: dict[str, Any] = table["about"]
        self._entries: dict[str, Any] = table["entries"]
        self._mapped = native.MappedFile(descriptor, self.num_bytes)
        self._floats = {
            name: _read_floats(descriptor, entry, self.num_bytes)
            for name, entry in self._entries.items()
            if isinstance(entry, dict)
        }

    def matrices(self, name: str) -> list[Matrix]:
        try:
            return [self._mapped.matrix(Form(*e["form"]).fields, e["offset"]) for e in self._entries[name]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"The packed weights have no whole {name}.") from error

    def is_repeated(self, name: str, other: str) -> bool:
        """Whether two names stand for the same bytes."""
        return name in self._entries and self._entries[name] == self._entries.get(other)

    def floats(self, name: str) -> F32:
        if name not in self._floats:
            raise FormatError(f"The packed weights have no {name}.")
        return self._floats[name]


def read_table(descriptor: int) -> dict[str, Any]:
    """The table of a file: `about` and `entries`. Raises `FormatError`."""
    size = os.fstat(descriptor).st_size
    header = os.pread(descriptor, HEADER_BYTES, 0)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise FormatError("The packed weights have no header.")
    _, version, layout, table_at, table_bytes = START.unpack_from(header)
    if (version, layout) != (FORMAT, LAYOUT):
        raise FormatError(f"The packed weights have format {version}.{layout}, not {FORMAT}.{LAYOUT}.")
    if table_bytes > MAX_TABLE_BYTES or table_at + table_bytes != size:
        raise FormatError(f"The packed weights have {size} bytes, not {table_at + table_bytes}.")
    table = os.pread(descriptor, table_bytes, table_at)
    if hashlib.sha256(header[: START.size] + table).digest() != header[START.size :]:
        raise FormatError("The table of the packed weights is damaged.")
    found: dict[str, Any] = json.loads(table)
    return found


def _read_floats(descriptor: int, entry: dict[str, Any], size: int) -> F32:
    shape, offset = entry["shape"], entry["offset"]
    if offset + 4 * prod(shape) > size:
        raise FormatError("A vector of the packed weights lies outside the file.")
    values = np.frombuffer(os.pread(descriptor, 4 * prod(shape), offset), "<f4")
    return values.astype(np.float32).reshape(shape)
