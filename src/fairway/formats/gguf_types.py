"""The table of ggml tensor types: what a block is, and how its bytes become numbers.

A quantised row is a run of blocks; each decoder takes blocks as uint8 [n, block_bytes] and gives
integer values, scales and offsets with `w = scale * (value - zero) + offset`, exact for the format.
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h and ggml-quants.c define the layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fairway.formats import gguf_blocks as blocks
from fairway.formats.floats import FLOATS, Bytes, dense_tensor, floats
from fairway.formats.gguf_blocks import Decoded
from fairway.tensors import F32, GroupedTensor

Decoder: TypeAlias = Callable[[Bytes], Decoded]


@dataclass(frozen=True)
class GgmlType:
    """One row of the table. `decode` is None for plain elements and for types this version only lists."""

    id: int
    name: str
    block_size: int
    """Weights in a block; 1 for plain elements."""
    block_bytes: int
    decode: Decoder | None = None
    bits: int = 0
    """Of the `GroupedTensor` the blocks become: 4, 5, 6 or 8."""
    group: int = 0
    zero: int = 0

    @property
    def is_readable(self) -> bool:
        return self.decode is not None or self.name in FLOATS


TYPES = {
    row.id: row
    for row in [
        GgmlType(0, "F32", 1, 4),
        GgmlType(1, "F16", 1, 2),
        GgmlType(30, "BF16", 1, 2),
        GgmlType(2, "Q4_0", 32, 18, blocks.q4_0, bits=4, group=32, zero=8),
        GgmlType(3, "Q4_1", 32, 20, blocks.q4_1, bits=4, group=32),
        GgmlType(6, "Q5_0", 32, 22, blocks.q5_0, bits=5, group=32, zero=16),
        GgmlType(7, "Q5_1", 32, 24, blocks.q5_1, bits=5, group=32),
        GgmlType(8, "Q8_0", 32, 34, blocks.q8_0, bits=8, group=32),
        GgmlType(10, "Q2_K", 256, 84, blocks.q2_k, bits=4, group=16),
        GgmlType(11, "Q3_K", 256, 110, blocks.q3_k, bits=4, group=16, zero=4),
        GgmlType(12, "Q4_K", 256, 144, blocks.q4_k, bits=4, group=32),
        GgmlType(13, "Q5_K", 256, 176, blocks.q5_k, bits=5, group=32),
        GgmlType(14, "Q6_K", 256, 210, blocks.q6_k, bits=6, group=16, zero=32),
        GgmlType(20, "IQ4_NL", 32, 18, blocks.iq4_nl, bits=8, group=32),
        GgmlType(23, "IQ4_XS", 256, 136, blocks.iq4_xs, bits=8, group=32),
        # Known by name and size, so that files holding them can be listed; not decoded.
        GgmlType(9, "Q8_1", 32, 36),
        GgmlType(15, "Q8_K", 256, 292),
        GgmlType(16, "IQ2_XXS", 256, 66),
        GgmlType(17, "IQ2_XS", 256, 74),
        GgmlType(18, "IQ3_XXS", 256, 98),
        GgmlType(19, "IQ1_S", 256, 50),
        GgmlType(21, "IQ3_S", 256, 110),
        GgmlType(22, "IQ2_S", 256, 82),
        GgmlType(24, "I8", 1, 1),
        GgmlType(25, "I16", 1, 2),
        GgmlType(26, "I32", 1, 4),
        GgmlType(27, "I64", 1, 8),
        GgmlType(28, "F64", 1, 8),
        GgmlType(29, "IQ1_M", 256, 56),
        GgmlType(34, "TQ1_0", 256, 54),
        GgmlType(35, "TQ2_0", 256, 66),
        GgmlType(39, "MXFP4", 32, 17),
        GgmlType(40, "NVFP4", 64, 36),
        GgmlType(41, "Q1_0", 128, 18),
    ]
}
BY_NAME = {row.name: row for row in TYPES.values()}

REMOVED = {
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
    36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}  # fmt: skip
"""Ids that llama.cpp has retired: no program reads these files any more."""

CHUNK_WEIGHTS = 1 << 19
"""Weights decoded at once: their intermediate arrays stay in the processor's cache."""


def decode_grouped(kind: GgmlType, raw: Bytes, rows: int, columns: int) -> GroupedTensor:
    """Quantised rows as a `GroupedTensor`. `raw` is the tensor's bytes, uint8 [rows * row_bytes]."""
    assert kind.decode is not None
    all_blocks = raw.reshape(-1, kind.block_bytes)
    count, groups = len(all_blocks), kind.block_size // kind.group
    values = np.empty((count, kind.block_size), np.int8 if kind.bits == 8 else np.uint8)
    scales = np.empty((count, groups), np.float32)
    offsets: F32 | None = None
    step = CHUNK_WEIGHTS // kind.block_size
    for start in range(0, count, step):
        piece = slice(start, start + step)
        value, scales[piece], offset = kind.decode(all_blocks[piece])
        values[piece] = value.reshape(-1, kind.block_size)
        if offset is not None:
            offsets = np.empty_like(scales) if offsets is None else offsets
            offsets[piece] = offset
    return GroupedTensor(
        kind.bits,
        kind.group,
        values.reshape(rows, columns),
        scales.reshape(rows, -1),
        kind.zero,
        None if offsets is None else offsets.reshape(rows, -1),
    )


def grouped_to_float32(tensor: GroupedTensor) -> F32:
    """What the numbers of a `GroupedTensor` mean: float32 [rows, columns]."""
    columns = tensor.shape[1]
    values = tensor.values.astype(np.float32)
    values -= np.float32(tensor.zero)
    values *= np.repeat(tensor.scales, tensor.group, axis=1)[:, :columns]
    if tensor.offsets is not None:
        values += np.repeat(tensor.offsets, tensor.group, axis=1)[:, :columns]
    return values


def decode_float32(kind: GgmlType, raw: Bytes) -> F32:
    """Any readable type as float32 [elements]."""
    if kind.decode is not None:
        columns = len(raw) // kind.block_bytes * kind.block_size
        return grouped_to_float32(decode_grouped(kind, raw, 1, columns)).reshape(-1)
    return floats(dense_tensor(kind.name, raw, (len(raw) // kind.block_bytes,)))
