"""What a tensor is before anything is done to it: the vocabulary shared by readers and kernels.

Knows element types and the group-wise form that every low-bit weight is brought into. Knows no
file format and no kernel. The rule: a `GroupedTensor` is exact for the format it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
I32: TypeAlias = npt.NDArray[np.int32]
Array: TypeAlias = npt.NDArray[np.generic]


@dataclass(frozen=True)
class DenseTensor:
    """A matrix or vector of floats, as stored.

    `type` is "f32", "f16" or "bf16"; `values` is float32, float16 or, for bf16, uint16 bit
    patterns. Shape [rows, columns] or [size].
    """

    type: str
    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


@dataclass(frozen=True)
class GroupedTensor:
    """A low-bit matrix: `w[r, c] = scales[r, g] * (values[r, c] - zero) + offsets[r, g]`, g = c // group.

    `bits` 4, 5 or 6: values are uint8 in 0 .. 2^bits - 1 (one per byte, not packed); `bits` 8: they are int8.
    values [rows, columns]; scales float32 [rows, ceil(columns / group)]; offsets the same or None.
    group is 16 or 32. `columns` need not be a multiple of the group: the last group is short.
    """

    bits: int
    group: int
    values: Array
    scales: F32
    zero: int = 0
    offsets: F32 | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


WeightTensor: TypeAlias = DenseTensor | GroupedTensor
