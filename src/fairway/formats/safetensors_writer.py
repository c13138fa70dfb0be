"""Writes safetensors: one tensor in memory at a time, and never half a file.

Sizes are known before bytes are, so the header goes first and each tensor is asked for its chunks
only when its turn comes. Knows no model. What it writes, `open_safetensors` must accept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from fairway.errors import InternalError
from fairway.formats.atomic import atomic_file
from fairway.formats.layout import Layout, Sized
from fairway.formats.safetensors import BITS
from fairway.tensors import Array, DenseTensor


@dataclass(frozen=True)
class TensorData:
    """What to write: `chunks` yields the row-major little-endian bytes in order."""

    type: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[bytes | memoryview]]

    @property
    def num_bytes(self) -> int:
        return prod(self.shape) * BITS[self.type] // 8


TYPES = {
    "float32": "F32", "float16": "F16", "float64": "F64", "int8": "I8", "uint8": "U8", "int16": "I16",
    "uint16": "U16", "int32": "I32", "uint32": "U32", "int64": "I64", "uint64": "U64", "bool": "BOOL",
}  # fmt: skip


def tensor_data(values: Array | DenseTensor) -> TensorData:
    """An array that is already in memory; a bf16 `DenseTensor` stays BF16."""
    if isinstance(values, DenseTensor):
        return _in_memory(values.type.upper(), values.values)
    return _in_memory(TYPES[values.dtype.name], values)


def _in_memory(type_name: str, values: Array) -> TensorData:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return TensorData(
        type_name, values.shape, lambda: [np.ascontiguousarray(little).reshape(-1).view(np.uint8).data]
    )


def write_safetensors(
    path: Path, tensors: Mapping[str, TensorData], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes `path` atomically. Wide types come first so that every tensor is aligned."""
    layout = safetensors_layout(tensors, metadata)
    with atomic_file(path) as file:
        file.write(layout.header)
        for name in layout.offsets:
            written = sum(file.write(chunk) for chunk in tensors[name].chunks())
            if written != tensors[name].num_bytes:
                raise InternalError(
                    f"{name} gave {written} bytes, its shape needs {tensors[name].num_bytes}."
                )


def safetensors_layout(tensors: Mapping[str, Sized], metadata: Mapping[str, str] | None = None) -> Layout:
    """Where everything of a file will lie, before a byte of it is there."""
    names = sorted(tensors, key=lambda name: (-BITS[tensors[name].type], name))
    header = _header({name: tensors[name] for name in names}, metadata)
    header = len(header).to_bytes(8, "little") + header
    offsets, end = {}, len(header)
    for name in names:
        offsets[name] = end
        end += tensors[name].num_bytes
    return Layout(header, offsets, end)


def _header(tensors: Mapping[str, Sized], metadata: Mapping[str, str] | None) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, tensor in tensors.items():
        end = position + tensor.num_bytes
        header[name] = {"dtype": tensor.type, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return text + b" " * (-len(text) % 8)
