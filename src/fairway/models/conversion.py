"""Weight tensors from one type to another, a slice of rows at a time.

"stored" changes nothing; "bf16" rounds to nearest even; "int8" to "int4" are groups of 32. A
tensor that already has the wanted type passes through untouched, so nothing is rounded twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from fairway.errors import SettingsError
from fairway.kernels.quantize import quantize_int8, quantize_low
from fairway.kernels.quantize import to_bf16 as to_bf16
from fairway.kernels.reference_ops import dequantize, to_float32
from fairway.tensors import F32, Array, DenseTensor, GroupedTensor, WeightTensor

T = TypeVar("T")

WEIGHT_TYPES = ("stored", "bf16", "int8", "int6", "int5", "int4")

SLICE_BYTES = 4 << 20
"""float32 values converted at once: the only memory that a conversion needs beside its result."""


def check_weight_type(name: str) -> None:
    if name not in WEIGHT_TYPES:
        raise SettingsError(
            f"There is no weight type {name!r}.", hint=f"Known: {', '.join(WEIGHT_TYPES)}.", param="weights"
        )


def convert(tensor: WeightTensor, weight_type: str) -> WeightTensor:
    """The tensor in one of `WEIGHT_TYPES`."""
    if weight_type == "stored" or has_type(tensor, weight_type):
        return tensor
    if weight_type == "bf16":
        return DenseTensor("bf16", np.concatenate(_by_rows(tensor, to_bf16)))
    if weight_type == "int8":
        return stack(_by_rows(tensor, quantize_int8))
    bits = int(weight_type.removeprefix("int"))
    return stack(_by_rows(tensor, lambda rows: quantize_low(rows, bits)))


def has_type(tensor: WeightTensor, weight_type: str) -> bool:
    """True if the tensor is of that weight type already."""
    if isinstance(tensor, DenseTensor):
        return tensor.type == weight_type
    return weight_type == f"int{tensor.bits}"


def floats_of(tensor: WeightTensor) -> F32:
    """The values as float32, in memory of their own."""
    values = to_float32(tensor) if isinstance(tensor, DenseTensor) else dequantize(tensor)
    return np.array(values, np.float32)


def transpose(tensor: WeightTensor) -> WeightTensor:
    """Rows and columns exchanged; a grouped tensor has no exact transpose and becomes float32."""
    if isinstance(tensor, DenseTensor):
        return DenseTensor(tensor.type, np.ascontiguousarray(tensor.values.T))
    return DenseTensor("f32", np.ascontiguousarray(floats_of(tensor).T))


def stacks_with(a: WeightTensor, b: WeightTensor) -> bool:
    """True if the two can be one matrix: same columns, same type, same way of grouping."""
    return a.shape[1] == b.shape[1] and layout_of(a) == layout_of(b)


def layout_of(tensor: WeightTensor) -> tuple[object, ...]:
    """Type and way of grouping."""
    if isinstance(tensor, DenseTensor):
        return (tensor.type,)
    return (tensor.bits, tensor.group, tensor.zero, tensor.offsets is None)


def stack(parts: list[WeightTensor]) -> WeightTensor:
    """The parts one above the other; each must stack with the first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    values = np.concatenate([part.values for part in parts])
    if isinstance(first, DenseTensor):
        return DenseTensor(first.type, values)
    grouped = [part for part in parts if isinstance(part, GroupedTensor)]
    offsets = [part.offsets for part in grouped if part.offsets is not None]
    return GroupedTensor(
        first.bits,
        first.group,
        values,
        np.concatenate([part.scales for part in grouped]),
        first.zero,
        np.concatenate(offsets) if offsets else None,
    )


def _num_threads() -> int:
    """The cores this process may use; macOS cannot say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _by_rows(tensor: WeightTensor, function: Callable[[F32], T]) -> list[T]:
    """The function of each slice, in order; NumPy lets go of the interpreter, so cores share the work."""
    with ThreadPoolExecutor(_num_threads()) as threads:
        return list(threads.map(lambda part: function(floats_of(part)), list(row_slices(tensor))))


def row_slices(tensor: WeightTensor, num_bytes: int | None = None) -> Iterator[WeightTensor]:
    """Views of some rows each, as many as have `num_bytes` (`SLICE_BYTES`) in float32."""
    rows, columns = tensor.shape
    step = max(1, (num_bytes or SLICE_BYTES) // (4 * columns))
    return (_rows(tensor, start, start + step) for start in range(0, rows, step))


def equal(a: WeightTensor, b: WeightTensor) -> bool:
    """True if the two hold the same numbers in the same way; compared some rows at a time."""
    return layout_of(a) == layout_of(b) and all(
        np.array_equal(x, y)
        for parts in zip(row_slices(a), row_slices(b), strict=True)
        for x, y in zip(*map(_arrays, parts), strict=True)
    )


def _arrays(tensor: WeightTensor) -> list[Array]:
    if isinstance(tensor, DenseTensor):
        return [tensor.values]
    return [tensor.values, tensor.scales, *([] if tensor.offsets is None else [tensor.offsets])]


def _rows(tensor: WeightTensor, start: int, end: int) -> WeightTensor:
    if isinstance(tensor, DenseTensor):
        return DenseTensor(tensor.type, tensor.values[start:end])
    offsets = None if tensor.offsets is None else tensor.offsets[start:end]
    return GroupedTensor(
        tensor.bits, tensor.group, tensor.values[start:end], tensor.scales[start:end], tensor.zero, offsets
    )
