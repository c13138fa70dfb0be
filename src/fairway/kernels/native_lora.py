"""Adapters in the layout of the native kernels: of each changed product one A and a B for each part.

Knows the extension's calls. The rule: a product's tiles are a B's tiles, so a B begins with rows of
zeros where its part does not begin with a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fairway.kernels.extension import native as _native
from fairway.kernels.lora import ChangedProduct, changed_products, check_deltas, held_a, held_b
from fairway.kernels.program import Delta, Operation
from fairway.kernels.reference_ops import to_float32
from fairway.tensors import F32, Array, DenseTensor, WeightTensor

Pack: TypeAlias = "Callable[[WeightTensor], _native.Matrix]"
TILE = 16


@dataclass(frozen=True)
class NativeAdapter:
    """Layers as `_native.Executable.put_adapter` takes them."""

    layers: list[_native.LoraLayer]

    @property
    def num_bytes(self) -> int:
        return sum(a.num_bytes + sum(part[0].num_bytes for part in parts) for _, a, parts in self.layers)


def pack_adapter(operations: list[Operation], deltas: Mapping[str, Delta], pack: Pack) -> NativeAdapter:
    """Raises ValueError for a delta that fits no product."""
    check_deltas(operations, deltas)
    return NativeAdapter([_layer(product, pack) for product in changed_products(operations, deltas)])


def _layer(product: ChangedProduct, pack: Pack) -> _native.LoraLayer:
    """All parts read the same x, so their A are one matrix, and each B reads its own columns of x @ A.T."""
    parts, column = [], 0
    for part, delta in product.deltas:
        rank = delta.a.shape[0]
        first_tile, rows_before = divmod(part.start, TILE)
        b = held_b(product.linear, delta.b)
        has_pairs = b.type == "bf16"
        words = _pairs(b.values) if has_pairs else to_float32(b)
        packed = pack(DenseTensor("f32", np.pad(words, ((rows_before, 0), (0, 0)))))
        parts.append((packed, has_pairs, rank, column, first_tile, product.linear.scale * delta.scale))
        column += rank
    a = held_a(product.linear, _stacked([delta.a for _, delta in product.deltas]))
    return product.site, pack(a), parts


def _pairs(values: Array) -> F32:
    """bfloat16 [rows, rank] as 32-bit words of two neighbours each; the last one of an odd rank is half."""
    rows, rank = values.shape
    even = np.zeros((rows, rank + rank % 2), np.dtype("<u2"))
    even[:, :rank] = values
    return even.view(np.float32)


def _stacked(parts: list[DenseTensor]) -> DenseTensor:
    """One above the other; in float32 where their types differ."""
    if len({part.type for part in parts}) > 1:
        parts = [DenseTensor("f32", to_float32(part)) for part in parts]
    return DenseTensor(parts[0].type, np.concatenate([part.values for part in parts]))
