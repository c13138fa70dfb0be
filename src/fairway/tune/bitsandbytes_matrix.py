"""NF4 by bitsandbytes, whose kernels multiply packed weights on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


class BitsAndBytesMatrix:
    """A `FrozenMatrix`; the codes are those of `four_bit`."""

    def __init__(self, values: Tensor, *, double: bool) -> None:
        """values [rows, columns], on the device that will multiply."""
        import bitsandbytes

        self.shape = (values.shape[0], values.shape[1])
        self._library = bitsandbytes
        self._packed, self._state = bitsandbytes.functional.quantize_4bit(
            values, blocksize=64, quant_type="nf4", compress_statistics=double
        )

    def product(self, x: Tensor) -> Tensor:
        found: Tensor = self._library.matmul_4bit(x, self._packed.t(), quant_state=self._state)
        return found.to(x.dtype)

    def row_lengths(self) -> Tensor:
        values: Tensor = self._library.functional.dequantize_4bit(self._packed, self._state)
        return values.to(torch.float32).norm(dim=1)
