"""GGUF, versions 2 and 3: metadata, a table of tensors, then their aligned bytes.

Reads the header of one file; `gguf_tensors` gives the tensors their Hugging Face names. Shapes
are turned round: GGUF stores the innermost dimension first. Rule: every tensor lies inside the
file, on its alignment, whole blocks to a row, and no two share a byte.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.floats import Bytes
from fairway.formats.gguf_types import REMOVED, TYPES, GgmlType
from fairway.formats.gguf_values import HINT, MAX_METADATA_BYTES, MAX_NAME_BYTES, Cursor
from fairway.formats.source import Source

MAGIC = b"GGUF"
MAX_TENSORS = 100_000
MAX_KEYS = 65_536
SMALLEST_KEY = 8 + 4 + 1
SMALLEST_TENSOR = 8 + 4 + 4 + 8
DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True)
class GgufTensor:
    """A tensor under its GGUF name; `begin` and `end` are absolute offsets."""

    info: TensorInfo
    type: GgmlType
    begin: int
    end: int


@dataclass(frozen=True)
class GgufFile:
    """A checked header."""

    source: Source
    version: int
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
    values: Mapping[str, tuple[int, int]]
    """Where the value of each key lies, its type included."""

    def raw_value(self, key: str) -> bytes:
        """A value of the metadata as it is stored: to be written again without a change."""
        begin, end = self.values[key]
        return bytes(self.source.data[begin:end])

    def raw(self, tensor: GgufTensor) -> Bytes:
        """The tensor's bytes, uint8, a view of the mapped file."""
        if tensor.end > self.source.path.stat().st_size:
            raise FormatError(f"{self.source.path} was cut short while it was open.", hint=HINT)
        size = tensor.end - tensor.begin
        return np.frombuffer(self.source.data, np.uint8, size, tensor.begin)


def open_gguf(path: Path) -> GgufFile:
    """Reads and checks the header of one file."""
    cursor = Cursor(Source(path))
    version = _version(cursor)
    num_tensors, num_keys = cursor.u64(), cursor.u64()
    _check_counts(cursor, num_tensors, num_keys)
    metadata, values = _metadata(cursor, num_keys)
    alignment = _alignment(cursor, metadata)
    table = [_tensor(cursor, alignment) for _ in range(num_tensors)]
    begin = -(-cursor.position // alignment) * alignment
    tensors = {entry.info.name: _placed(cursor, entry, begin) for entry in table}
    if len(tensors) != len(table):
        raise FormatError(f"{path} lists the same tensor name twice.", hint=HINT)
    _check_overlap(path, tensors)
    return GgufFile(cursor.source, version, metadata, tensors, values)


def _version(cursor: Cursor) -> int:
    if cursor.data[:4] != MAGIC:
        raise FormatError(f"{cursor.source.path} does not begin with GGUF.", hint=HINT)
    cursor.position = 4
    version = cursor.u32()
    if version and version & 0xFFFF == 0:
        raise UnsupportedError(
            f"{cursor.source.path} is a big-endian GGUF file, which cannot be read.",
            hint="Convert the model again on, or for, a little-endian machine.",
        )
    if version == 1:
        raise UnsupportedError(
            f"{cursor.source.path} is GGUF version 1, which no current program reads.",
            hint="Convert the model again to get version 3.",
        )
    if version not in (2, 3):
        raise UnsupportedError(
            f"{cursor.source.path} is GGUF version {version}; versions 2 and 3 can be read.",
            hint="Update Fairway, or convert the model again.",
        )
    return version


def _check_counts(cursor: Cursor, num_tensors: int, num_keys: int) -> None:
    needed = num_tensors * SMALLEST_TENSOR + num_keys * SMALLEST_KEY
    if needed > cursor.left or num_tensors > MAX_TENSORS or num_keys > MAX_KEYS:
        raise cursor.error(f"claims {num_tensors} tensors and {num_keys} keys, more than it can hold")


def _metadata(cursor: Cursor, count: int) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Values, and where each lies."""
    metadata: dict[str, Any] = {}
    places: dict[str, tuple[int, int]] = {}
    for _ in range(count):
        key = cursor.string(MAX_NAME_BYTES)
        if key in metadata:
            raise cursor.error(f"has the key {key[:80]!r} twice")
        begin = cursor.position
        metadata[key] = cursor.value(cursor.u32())
        places[key] = begin, cursor.position
        if cursor.position > MAX_METADATA_BYTES:
            raise cursor.error(f"has more than {MAX_METADATA_BYTES} bytes of metadata")
    return metadata, places


def _alignment(cursor: Cursor, metadata: Mapping[str, Any]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or not 0 < value <= 1 << 30 or value & (value - 1):
        raise cursor.error(f"has general.alignment {str(value)[:40]}, which is not a power of two")
    return value


def _tensor(cursor: Cursor, alignment: int) -> GgufTensor:
    """One row of the table; `begin` and `end` still count from the start of the data."""
    name = cursor.string(MAX_NAME_BYTES)
    num_dimensions = cursor.u32()
    if num_dimensions > 4:
        raise cursor.error(f"gives the tensor {name[:80]!r} {num_dimensions} dimensions, at most 4 exist")
    sizes = [cursor.u64() for _ in range(num_dimensions)]
    type_id, offset = cursor.u32(), cursor.u64()
    kind = _type(cursor, name, type_id)
    shape = tuple(reversed(sizes))
    if 0 in shape or prod(shape) >= 1 << 62:
        raise cursor.error(f"gives the tensor {name[:80]!r} the shape {list(shape)}")
    if (sizes[0] if sizes else 1) % kind.block_size:
        raise cursor.error(
            f"gives the {kind.name} tensor {name[:80]!r} rows of {sizes[0] if sizes else 1}, "
            f"not whole blocks of {kind.block_size}"
        )
    if offset % alignment:
        raise cursor.error(f"puts the tensor {name[:80]!r} at {offset}, off its alignment of {alignment}")
    size = prod(shape) // kind.block_size * kind.block_bytes
    return GgufTensor(TensorInfo(name, kind.name, shape, size), kind, offset, offset + size)


def _type(cursor: Cursor, name: str, type_id: int) -> GgmlType:
    if type_id in TYPES:
        return TYPES[type_id]
    spelled = f"{REMOVED[type_id]}, retired from" if type_id in REMOVED else f"{type_id}, not known to"
    raise UnsupportedError(
        f"Tensor {name[:80]!r} of {cursor.source.path} has the ggml type {spelled} current GGUF.",
        hint="Convert the model again with a current type such as Q4_K or Q8_0.",
    )


def _placed(cursor: Cursor, tensor: GgufTensor, begin: int) -> GgufTensor:
    size = cursor.source.size
    if begin + tensor.end > size:
        raise FormatError(
            f"Tensor {tensor.info.name[:80]!r} of {cursor.source.path} ends at byte {begin + tensor.end}, "
            f"the file at {size}: it is cut short.",
            hint=HINT,
        )
    return GgufTensor(tensor.info, tensor.type, begin + tensor.begin, begin + tensor.end)


def _check_overlap(path: Path, tensors: Mapping[str, GgufTensor]) -> None:
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.begin):
        if tensor.begin < end:
            raise FormatError(
                f"Tensor {tensor.info.name[:80]!r} of {path} shares bytes with another one.", hint=HINT
            )
        end = tensor.end
