"""Frozen matrices that are kept in fewer bits than they multiply in, unpacked a piece at a time.

    y = x @ W.T, and back: gradient of x = gradient of y @ W

Neither needs more of W than some rows at once, so a whole unpacked matrix never exists. The rule: what is
unpacked is forgotten after its product, and unpacked again for the gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from fairway.tune.products import product

PIECE_BYTES = 32 << 20
"""Of the unpacked values that exist at once."""


class FrozenMatrix(Protocol):
    """W [rows, columns]; whatever it is stored as, it wants no gradient."""

    @property
    def shape(self) -> tuple[int, int]: ...
    def product(self, x: Tensor) -> Tensor:
        """x @ W.T in the type of x, [tokens, columns] -> [tokens, rows]."""
        ...

    def row_lengths(self) -> Tensor:
        """The norm of each row, float32 [rows]."""
        ...


class PiecewiseMatrix(ABC):
    """A `FrozenMatrix` whose kind only says how rows are unpacked."""

    shape: tuple[int, int]

    @abstractmethod
    def unpacked(self, start: int, end: int, kind: torch.dtype) -> Tensor:
        """W[start:end] in the given type; `start` is a multiple of 64, `end` too or the last row."""

    def pieces(self, kind: torch.dtype) -> Iterator[tuple[int, int, Tensor]]:
        """(first row, after the last, values)"""
        rows, columns = self.shape
        step = max(64, PIECE_BYTES // (kind.itemsize * columns) // 64 * 64)
        for start in range(0, rows, step):
            end = min(start + step, rows)
            yield start, end, self.unpacked(start, end, kind)

    def product(self, x: Tensor) -> Tensor:
        found: Tensor = _Product.apply(x, self)
        return found

    def row_lengths(self) -> Tensor:
        return torch.cat([each.norm(dim=1) for _, _, each in self.pieces(torch.float32)])


class HalfMatrix(PiecewiseMatrix):
    """Held in 16 bits: embeddings and heads, which rounding to 4 bits would harm most."""

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self.shape = (values.shape[0], values.shape[1])

    def unpacked(self, start: int, end: int, kind: torch.dtype) -> Tensor:
        return self._values[start:end].to(kind)

    def rows(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self._values).float()


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """Saves nothing: the gradient of x depends on W alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: PiecewiseMatrix) -> Tensor:  # noqa: ANN401
        ctx.matrix = matrix
        parts = [product(x, values) for _, _, values in matrix.pieces(x.dtype)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # noqa: ANN401
        matrix: PiecewiseMatrix = ctx.matrix
        total = grad.new_zeros((*grad.shape[:-1], matrix.shape[1]))
        for start, end, values in matrix.pieces(grad.dtype):
            total += product(grad[..., start:end], values.t())
        return total, None
