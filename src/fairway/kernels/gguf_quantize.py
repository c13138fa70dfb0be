"""Float rows to the blocks of ggml's quantised types, weighted by importance if there is any.

Knows blocks and bytes, no file; `gguf_reference.py` says how weights are rounded. The rules: the native
kernels, used where there are any, give the same bytes; and only what float16 could hold is quantised, since
float16 is what holds the scales. Anything else is refused by row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fairway.kernels import gguf_reference as meaning
from fairway.kernels.extension import native, native_isas
from fairway.kernels.gguf_layout import Bytes
from fairway.kernels.gguf_search import HALF_MAX
from fairway.kernels.reference_ops import to_float32
from fairway.tensors import F32, Array, DenseTensor

_BLOCKS_AT_ONCE = 1 << 11
_SOURCES = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
"""As native/kernels.h counts them, and how each is held."""


class WeightError(ValueError):
    """A weight that is no number, or beyond float16's range, and its place."""

    def __init__(self, row: int, column: int, value: float) -> None:
        super().__init__(f"row {row}, column {column} is {value:g}, and weights end at 65504")
        self.row, self.column, self.value = row, column, value


@dataclass(frozen=True)
class BlockType:
    """`block_size` weights in a row become `block_bytes` bytes."""

    block_size: int
    block_bytes: int
    reference: Callable[[F32, F32], Bytes]
    """Weights and their importance [blocks, block_size] to [blocks, block_bytes]."""

    def row_bytes(self, columns: int) -> int:
        return columns // self.block_size * self.block_bytes


TYPES: Mapping[str, BlockType] = {
    "Q8_0": BlockType(32, 34, meaning.q8_0),
    "Q4_0": BlockType(32, 18, meaning.q4_0),
    "Q4_1": BlockType(32, 20, meaning.q4_1),
    "Q5_0": BlockType(32, 22, meaning.q5_0),
    "Q5_1": BlockType(32, 24, meaning.q5_1),
    "Q2_K": BlockType(256, 84, meaning.q2_k),
    "Q3_K": BlockType(256, 110, meaning.q3_k),
    "Q4_K": BlockType(256, 144, meaning.q4_k),
    "Q5_K": BlockType(256, 176, meaning.q5_k),
    "Q6_K": BlockType(256, 210, meaning.q6_k),
    "IQ4_NL": BlockType(32, 18, meaning.iq4_nl),
    "IQ4_XS": BlockType(256, 136, meaning.iq4_xs),
}
"""In the order of native/kernels.h."""
_NUMBERS = {name: number for number, name in enumerate(TYPES)}


def quantize(values: F32, type: str, importance: F32 | None = None) -> Bytes:
    """values [rows, columns] to uint8 [rows, row_bytes].

    importance [columns], none below 0, is how much an error in a column counts. Runs on the calling thread,
    without the interpreter lock. Raises `ValueError` for rows that are not whole blocks, `WeightError` for a
    weight that is no number or beyond 65504.
    """
    return quantize_dense(DenseTensor("f32", values), type, importance)


def quantize_dense(weight: DenseTensor, type: str, importance: F32 | None = None) -> Bytes:
    """The same for floats of any type."""
    kind = _checked(weight, type)
    rows, columns = weight.shape
    weights = None if importance is None else normalised(importance, columns)
    isas = native_isas()
    if not isas:
        return _in_numpy(weight, kind, weights)
    blocks = np.empty((rows, kind.row_bytes(columns)), np.uint8)
    values = np.ascontiguousarray(weight.values)
    source = list(_SOURCES).index(weight.type)
    if not native.quantize_blocks(isas[0], _NUMBERS[type], source, values, weights, blocks):
        check_weights(to_float32(weight))
    return blocks


def reference(values: F32, type: str, importance: F32 | None = None) -> Bytes:
    """What `quantize` means, in NumPy."""
    weight = DenseTensor("f32", values)
    kind = _checked(weight, type)
    return _in_numpy(weight, kind, None if importance is None else normalised(importance, values.shape[1]))


def normalised(importance: F32, columns: int) -> F32:
    """Importance with the mean 1. A column that was never used still counts a thousandth."""
    values = np.asarray(importance, np.float64)
    if values.shape != (columns,) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"importance is {columns} finite numbers, none below 0")
    mean = values.mean() if columns else 0.0
    if not mean > 0:
        return np.ones(columns, np.float32)
    return np.maximum(values / mean, 1e-3).astype(np.float32)


def _in_numpy(weight: DenseTensor, kind: BlockType, importance: F32 | None) -> Bytes:
    values = to_float32(weight)
    check_weights(values)
    rows, columns = values.shape
    blocks = values.reshape(-1, kind.block_size)
    weights = np.ones(columns, np.float32) if importance is None else importance
    of_blocks = weights.reshape(-1, kind.block_size)
    result = np.empty((len(blocks), kind.block_bytes), np.uint8)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        part = blocks[start : start + _BLOCKS_AT_ONCE]
        places = np.arange(start, start + len(part)) % len(of_blocks)
        result[start : start + len(part)] = kind.reference(part, of_blocks[places])
    return result.reshape(rows, kind.row_bytes(columns))


def _checked(weight: DenseTensor, type: str) -> BlockType:
    if type not in TYPES:
        raise ValueError(f"{type} is not a type that can be written; there are {', '.join(TYPES)}")
    values: Array = weight.values
    if values.ndim != 2 or values.dtype != _SOURCES[weight.type]:
        raise ValueError(
            f"weights are {weight.type} [rows, columns], not {values.dtype} {list(values.shape)}"
        )
    kind = TYPES[type]
    if values.shape[1] % kind.block_size:
        raise ValueError(
            f"rows of {values.shape[1]} are not whole blocks of {kind.block_size}, as {type} needs"
        )
    return kind


def check_weights(values: F32) -> None:
    """Raises `WeightError` for the first of values [rows, columns] that float16 could not hold."""
    bad = ~(np.abs(values) <= HALF_MAX)
    if bad.any():
        row, column = np.unravel_index(int(bad.argmax()), values.shape)
        raise WeightError(int(row), int(column), float(values[row, column]))
