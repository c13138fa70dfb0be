"""The three float types that both containers store and the engine runs: F32, F16 and BF16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.tensors import F32, Array, DenseTensor

Bytes: TypeAlias = npt.NDArray[np.uint8]

FLOATS: Mapping[str, tuple[str, np.dtype[np.generic]]] = {
    "F32": ("f32", np.dtype("<f4")),
    "F16": ("f16", np.dtype("<f2")),
    "BF16": ("bf16", np.dtype("<u2")),
}
"""Stored type -> `DenseTensor.type` and its element; bfloat16 is kept as bit patterns."""


def dense_tensor(stored_type: str, raw: Bytes, shape: tuple[int, ...]) -> DenseTensor:
    """The little-endian bytes of a tensor as numbers: a view, or a copy where they are not aligned."""
    kind, dtype = FLOATS[stored_type]
    values = raw.view(dtype)
    return DenseTensor(kind, (values if values.flags.aligned else values.copy()).reshape(shape))


def floats(weight: DenseTensor) -> F32:
    """What the numbers mean, float32 of the same shape."""
    if weight.type == "bf16":
        return bfloat16_to_float32(weight.values)
    return weight.values.astype(np.float32)


def bfloat16_to_float32(bits: Array) -> F32:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
