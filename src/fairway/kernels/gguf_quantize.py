"""Float rows to the blocks of ggml's quantised types, weighted by importance if there is any.

Knows blocks and bytes, no file. The rule: only finite weights that float16 could hold are quantised, since
float16 is what holds their scales; anything else is refused by row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fairway.kernels import gguf_reference as meaning
from fairway.kernels.gguf_layout import Bytes
from fairway.kernels.gguf_search import HALF_MAX
from fairway.tensors import F32

_BLOCKS_AT_ONCE = 1 << 11


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


def quantize(values: F32, type: str, importance: F32 | None = None) -> Bytes:
    """values [rows, columns] to uint8 [rows, row_bytes]; importance [columns], at least 0, is how much an
    error in a column counts. Raises `ValueError` for rows that are not whole blocks and for weights that
    cannot be held.
    """
    kind = _checked(values, type)
    return (
        reference(values, type, importance)
        if values.size
        else np.empty((0, kind.row_bytes(values.shape[1])), np.uint8)
    )


def reference(values: F32, type: str, importance: F32 | None = None) -> Bytes:
    """The same in NumPy."""
    kind = _checked(values, type)
    rows, columns = values.shape
    _check_values(values)
    weights = np.ones(columns, np.float32) if importance is None else normalised(importance, columns)
    blocks = values.reshape(-1, kind.block_size)
    of_blocks = weights.reshape(-1, kind.block_size)
    result = np.empty((len(blocks), kind.block_bytes), np.uint8)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        part = blocks[start : start + _BLOCKS_AT_ONCE]
        places = np.arange(start, start + len(part)) % len(of_blocks)
        result[start : start + len(part)] = kind.reference(part, of_blocks[places])
    return result.reshape(rows, kind.row_bytes(columns))


def normalised(importance: F32, columns: int) -> F32:
    """Importance with the mean 1. A column that was never used still counts a thousandth."""
    values = np.asarray(importance, np.float64)
    if values.shape != (columns,) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"importance is {columns} finite numbers, none below 0")
    mean = values.mean() if columns else 0.0
    if not mean > 0:
        return np.ones(columns, np.float32)
    return np.maximum(values / mean, 1e-3).astype(np.float32)


def _checked(values: F32, type: str) -> BlockType:
    if type not in TYPES:
        raise ValueError(f"{type} is not a type that can be written; there are {', '.join(TYPES)}")
    if values.ndim != 2 or values.dtype != np.float32:
        raise ValueError(f"weights are float32 [rows, columns], not {values.dtype} {list(values.shape)}")
    kind = TYPES[type]
    if values.shape[1] % kind.block_size:
        raise ValueError(
            f"rows of {values.shape[1]} are not whole blocks of {kind.block_size}, which {type} needs"
        )
    return kind


def _check_values(values: F32) -> None:
    bad = ~(np.abs(values) <= HALF_MAX)
    if bad.any():
        row, column = np.unravel_index(int(bad.argmax()), values.shape)
        raise ValueError(
            f"row {row}, column {column} is {values[row, column]}, quantised weights are at most 65504"
        )
