"""Products of matrices with their gradients, by the faster of PyTorch's libraries.

    y = x @ W.T        x [..., in], W [out, in]

On a CPU that is oneDNN for every type. PyTorch itself gives float32 to MKL, which on processors that are not
Intel's reaches a fifth of what they can do where oneDNN reaches four fifths (benchmarks/LOG.md).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
TYPES = (torch.float32, torch.bfloat16)

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
"""Shapes whose code oneDNN keeps, else 1,024: each batch of another length has some thirty, which do not come
again soon."""


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T, with gradients where they are wanted; both of one type."""
    if not _by_onednn(x):
        return functional.linear(x, weight)
    found: Tensor = _Linear.apply(x, weight)
    return found


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T of what wants no gradient; both of one type, weight of any strides."""
    if not _by_onednn(x):
        return functional.linear(x, weight)
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return found


def linear_lora(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """x @ weight.T + scale * x @ a.T @ b.T, of a frozen weight; a [rank, in], b [out, rank]."""
    found: Tensor = _LinearLora.apply(x, weight, a, b, scale)
    return found


def _by_onednn(x: Tensor) -> bool:
    return HAS_ONEDNN and x.device.type == "cpu" and x.dtype in TYPES and x.numel() > 0


class _Linear(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        of_x = product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        of_weight = _outer(grad, x) if ctx.needs_input_grad[1] else None
        return of_x, of_weight


class _LinearLora(torch.autograd.Function):  # type: ignore[misc]
    """In one piece, so that no wide tensor is made only to be added to another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:  # noqa: ANN401
        thin = product(x, a).mul_(scale)
        ctx.save_for_backward(x, weight, a, b, thin)
        ctx.scale = scale
        return _added(product(x, weight), thin, b.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # noqa: ANN401
        x, weight, a, b, thin = ctx.saved_tensors
        of_thin = product(grad, b.t()).mul_(ctx.scale)
        of_a, of_b = _outer(of_thin, x), _outer(thin, grad).t()
        of_x = _added(product(grad, weight.t()), of_thin, a) if ctx.needs_input_grad[0] else None
        return of_x, None, of_a, of_b, None


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """left.T @ right of rows, [m, n]."""
    return product(left.flatten(0, -2).t(), right.flatten(0, -2).t())


def _added(wide: Tensor, thin: Tensor, matrix: Tensor) -> Tensor:
    """wide + thin @ matrix, in the place of wide."""
    wide.flatten(0, -2).addmm_(thin.flatten(0, -2), matrix)
    return wide
