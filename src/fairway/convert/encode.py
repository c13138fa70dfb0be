"""float32 rows as the bytes of a stored type.

F16 has a largest number, and a weight beyond it would become infinite in silence: that is refused.
"""

from __future__ import annotations

import numpy as np

from fairway.errors import FormatError
from fairway.formats.floats import FLOATS, Bytes
from fairway.formats.gguf_types import BY_NAME
from fairway.formats.safetensors import BITS
from fairway.kernels.gguf_quantize import TYPES, quantize
from fairway.models.conversion import to_bf16
from fairway.tensors import F32, Array

EXACT = {("F16", "F32"), ("BF16", "F32")}
"""Stored type -> wider type that holds each of its numbers."""


def is_exact(source: str, target: str) -> bool:
    """Whether no number changes on the way."""
    return source == target or (source, target) in EXACT


def num_bytes(stored_type: str, num_elements: int) -> int:
    """What so many elements take, in whole blocks."""
    if stored_type in BITS:
        return num_elements * BITS[stored_type] // 8
    kind = BY_NAME[stored_type]
    return num_elements // kind.block_size * kind.block_bytes


def encode(values: F32, stored_type: str, name: str) -> Bytes:
    """values [rows, columns] to bytes, uint8; `name` is the tensor's, for the error."""
    if stored_type in TYPES:
        return _quantised(values, stored_type, name)
    return np.ascontiguousarray(_floats(values, stored_type, name)).reshape(-1).view(np.uint8)


def _floats(values: F32, stored_type: str, name: str) -> Array:
    if stored_type == "BF16":
        return to_bf16(values)
    if stored_type == "F32":
        return values
    with np.errstate(over="ignore"):
        halves = values.astype(FLOATS["F16"][1])
    if not np.array_equal(np.isfinite(halves), np.isfinite(values)):
        largest = float(np.abs(values[np.isfinite(values)]).max())
        raise FormatError(
            f"Tensor {name} holds {largest:.6g}, and F16 ends at 65504: the weight would become infinite.",
            hint="Choose --type bf16 or f32.",
        )
    return halves


def _quantised(values: F32, stored_type: str, name: str) -> Bytes:
    try:
        return quantize(values, stored_type).reshape(-1)
    except ValueError as error:
        raise FormatError(
            f"Tensor {name} cannot become {stored_type}: {error}.", hint="Choose --type bf16 or f32."
        ) from None
