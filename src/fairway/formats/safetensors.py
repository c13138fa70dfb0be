"""Safetensors: eight bytes of length, a JSON header, then the tensors end to end.

Reads the header only; tensors are mapped on demand. Knows one file; `shards` joins several.
https://github.com/huggingface/safetensors#format - the tensors must cover the data exactly, without
gap or overlap, which `_check_layout` proves before the first one is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.floats import FLOATS, Bytes, dense_tensor
from fairway.formats.json_text import MAX_BYTES, parse_object
from fairway.formats.source import Source
from fairway.tensors import DenseTensor

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""Every dtype of the specification and its bits per element."""

MAX_DIMENSIONS = 64
FIELDS = {"dtype", "shape", "data_offsets"}
HINT = "Download the file again, or export it again from the model's source."


@dataclass(frozen=True)
class Entry:
    """One tensor and where its bytes lie: absolute offsets into the file."""

    info: TensorInfo
    begin: int
    end: int


@dataclass(frozen=True)
class SafetensorsFile:
    """A checked file; its `Tensors` protocol is `infos` and `read`."""

    source: Source
    entries: Mapping[str, Entry]
    infos: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.source,)

    def read(self, name: str) -> DenseTensor:
        """The tensor as stored, a view of the mapped file. F32, F16 and BF16 only."""
        info = self._entry(name).info
        if info.type not in FLOATS:
            raise UnsupportedError(
                f"Tensor {name!r} of {self.source.path} is {info.type}, which cannot be run.",
                hint="Weights must be F32, F16 or BF16: convert the checkpoint first.",
            )
        return dense_tensor(info.type, self.stored(name), info.shape)

    def stored(self, name: str) -> Bytes:
        """The tensor's bytes, of any type: a view of the mapped file."""
        entry = self._entry(name)
        if entry.end > self.source.path.stat().st_size:
            raise FormatError(f"{self.source.path} was cut short while it was open.", hint=HINT)
        size, begin = entry.info.num_bytes, min(entry.begin, self.source.size - 1)
        return np.frombuffer(self.source.data, np.uint8, size, begin)

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise FormatError(f"{self.source.path} has no tensor {name!r}.", hint=HINT)
        return self.entries[name]


def open_safetensors(path: Path) -> SafetensorsFile:
    """Reads and checks the header. Raises `FormatError` for anything the specification forbids."""
    source = Source(path)
    length = _header_length(source)
    header = parse_object(source.read(8, length), f"The header of {path}")
    metadata = _metadata(header.pop("__metadata__", {}), path)
    begin = 8 + length
    entries = {name: _entry(name, fields, begin, source) for name, fields in header.items()}
    _check_layout(entries, begin, source)
    infos = {name: entry.info for name, entry in entries.items()}
    return SafetensorsFile(source, entries, infos, metadata)


def _header_length(source: Source) -> int:
    if source.size < 8:
        raise FormatError(f"{source.path} has {source.size} bytes, too few for safetensors.", hint=HINT)
    length = int.from_bytes(source.read(0, 8), "little")
    if length > source.size - 8:
        raise FormatError(
            f"{source.path} claims a header of {length} bytes but has only {source.size - 8}: "
            "it is cut short or not safetensors.",
            hint=HINT,
        )
    if length > MAX_BYTES:
        raise FormatError(
            f"The header of {source.path} has {length} bytes, at most {MAX_BYTES} are read.", hint=HINT
        )
    return length


def _metadata(value: object, path: Path) -> dict[str, str]:
    """MLX writes null where it has none."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise FormatError(f"__metadata__ in the header of {path} is not a table of strings.", hint=HINT)
    return value


def _entry(name: str, fields: object, data_begin: int, source: Source) -> Entry:
    if not isinstance(fields, dict) or fields.keys() != FIELDS:
        raise _broken(name, source, "needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], _sizes(fields["shape"]), _sizes(fields["data_offsets"])
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _broken(name, source, f"has the unknown dtype {str(dtype)[:40]!r}")
    if shape is None or offsets is None or len(offsets) != 2:
        raise _broken(name, source, "has a shape or data_offsets that are not short lists of sizes")
    begin, end = offsets
    if begin > end or data_begin + end > source.size:
        raise _broken(name, source, f"lies at bytes {begin} to {end} of the data, outside the file")
    bits = prod(shape) * BITS[dtype]
    if bits != (end - begin) * 8:
        stated = f"{dtype} {list(shape)[:8]}, {(bits + 7) // 8} bytes"
        raise _broken(name, source, f"is {stated}, but takes {end - begin}")
    return Entry(TensorInfo(name, dtype, shape, end - begin), data_begin + begin, data_begin + end)


def _sizes(value: object) -> tuple[int, ...] | None:
    """A list of at most 64 non-negative integers below 2**63; None for anything else."""
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return None
    for item in value:
        if type(item) is not int or not 0 <= item < 1 << 63:
            return None
    return tuple(value)


def _broken(name: str, source: Source, problem: str) -> FormatError:
    return FormatError(f"Tensor {name[:120]!r} in {source.path} {problem}.", hint=HINT)


def _check_layout(entries: Mapping[str, Entry], begin: int, source: Source) -> None:
    position = begin
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            problem = "overlaps the tensor before it" if entry.begin < position else "leaves a gap before it"
            raise _broken(entry.info.name, source, problem)
        position = entry.end
    if position != source.size:
        raise FormatError(
            f"{source.path} has {source.size - position} bytes that belong to no tensor.", hint=HINT
        )
