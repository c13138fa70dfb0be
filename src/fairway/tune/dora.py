"""DoRA: LoRA whose rows are brought to lengths that are trained too (https://arxiv.org/abs/2402.09353).

    W' = magnitude / |W + B A| * (W + B A)         norms over each row, which want no gradient (section 4.3)

The sum is never made: with U = W @ A.T, which costs as much as `rank` tokens,

    |W + B A|^2 = |W|^2 + 2 <B, U> + <B, B @ (A @ A.T)>         row by row
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Multiply = Callable[[Tensor], Tensor]
"""x -> x @ W.T"""
SMALLEST = torch.finfo(torch.float32).tiny


def stretched(lengths: Tensor, a: Tensor, b: Tensor, multiply: Multiply) -> Tensor:
    """The norms of the rows of W + B @ A, float32 [out], where `lengths` are those of W."""
    with torch.no_grad():
        crossed = multiply(a.float()).T
        squares = lengths**2 + (b * (2 * crossed + b @ (a @ a.T))).sum(dim=1)
        return squares.clamp_min(SMALLEST).sqrt()
