"""The buffers of a recorded program as values: columns that are written and read under the same names.

Kernels write into storage; gradients need values that stay. So each buffer is the list of tensors last
written to its columns, and reading what was written gives that tensor itself, without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fairway.kernels.program import Buffer


@dataclass(frozen=True)
class _Piece:
    start: int
    values: Tensor

    @property
    def end(self) -> int:
        return self.start + int(self.values.shape[-1])

    def cut(self, start: int, end: int) -> _Piece:
        """The part of it between two columns."""
        start, end = max(start, self.start), min(end, self.end)
        if (start, end) == (self.start, self.end):
            return self
        return _Piece(start, self.values[:, start - self.start : end - self.start])


class Columns:
    """Buffers of one pass; tensors are [rows, width]."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[_Piece]] = {}

    def write(self, buffer: Buffer, values: Tensor) -> None:
        start, end = buffer.start, buffer.start + buffer.width
        kept = []
        for piece in self._pieces.get(buffer.index, []):
            if piece.start < start:
                kept.append(piece.cut(piece.start, start))
            if piece.end > end:
                kept.append(piece.cut(end, piece.end))
        self._pieces[buffer.index] = sorted([*kept, _Piece(start, values)], key=lambda each: each.start)

    def read(self, buffer: Buffer) -> Tensor:
        pieces = [values for _, values in self.parts(buffer)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)

    def parts(self, buffer: Buffer) -> list[tuple[Buffer, Tensor]]:
        """What was written to it, piece by piece."""
        start, end = buffer.start, buffer.start + buffer.width
        found = [
            each.cut(start, end)
            for each in self._pieces[buffer.index]
            if each.start < end and each.end > start
        ]
        return [(buffer.columns(each.start - start, each.end - each.start), each.values) for each in found]
