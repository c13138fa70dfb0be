"""Weights that are only names, and buffers that are only values of a graph.

What a recorded forward pass needs to become ONNX. The rule: a buffer's columns are known by the value that
was written there last, cut or joined where another part of them is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fairway.convert.onnx_graph import Drawing
from fairway.kernels.program import Buffer, Matrix
from fairway.tensors import F32


@dataclass(frozen=True)
class NamedMatrix:
    """One weight of a linear layer or a table."""

    name: str
    rows: int
    columns: int
    input_first: bool = False
    """Stored [columns, rows]."""
    num_bytes: int = 0
    is_integer: bool = False


@dataclass
class WeightNames:
    """`WeightSource` that answers with names. `shapes` are those of the tensors that were asked for."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    arrays: dict[int, tuple[F32, str, float]] = field(default_factory=dict)
    """id of what was given for a norm or table -> it, its name, and what is added to its numbers."""

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        self.shapes[name] = (rows, columns)
        return NamedMatrix(name, rows, columns)

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        return self.embedding(name, rows, columns)

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        """A matrix for each name, so that each operation has one."""
        found: list[Matrix] = []
        for name, rows in zip(names, sizes, strict=True):
            self.shapes[f"{name}.weight"] = (columns, rows) if input_first else (rows, columns)
            found.append(NamedMatrix(f"{name}.weight", rows, columns, input_first))
        return found

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        self.shapes |= {f"{name}.bias": (size,) for name, size in zip(names, sizes, strict=True)}
        return np.broadcast_to(np.float32(0), (sum(sizes),))

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        self.shapes[name] = shape
        values = np.broadcast_to(np.float32(0), shape)
        self.arrays[id(values)] = values, name, offset
        return values


@dataclass
class Values:
    """What stands in the buffers of a program: (first column, width, value) of each, in order."""

    graph: Drawing
    pieces: dict[int, list[tuple[int, int, str]]] = field(default_factory=dict)

    def read(self, buffer: Buffer) -> str:
        """The value of a buffer's columns."""
        found = [self._cut(piece, buffer.start, buffer.width) for piece in self.within(buffer)]
        return found[0] if len(found) == 1 else self.graph.add("Concat", *found, axis=-1)

    def write(self, buffer: Buffer, value: str) -> None:
        """The columns have this value now; what lay beside them in a wider one stays."""
        begin, end = buffer.start, buffer.start + buffer.width
        kept = []
        for start, width, old in self.pieces.get(buffer.index, []):
            for first, last in ((start, min(start + width, begin)), (max(start, end), start + width)):
                if first < last:
                    part = (start, width, old)
                    kept.append((first, last - first, self._cut(part, first, last - first)))
        self.pieces[buffer.index] = sorted([*kept, (begin, buffer.width, value)])

    def within(self, buffer: Buffer) -> list[tuple[int, int, str]]:
        """The pieces that reach into a buffer's columns."""
        end = buffer.start + buffer.width
        pieces = self.pieces.get(buffer.index, [])
        return [piece for piece in pieces if piece[0] < end and piece[0] + piece[1] > buffer.start]

    def _cut(self, piece: tuple[int, int, str], begin: int, width: int) -> str:
        start, size, value = piece
        first, last = max(start, begin), min(start + size, begin + width)
        if (first, last) == (start, start + size):
            return value
        return slice_last(self.graph, value, first - start, last - start)


def slice_last(graph: Drawing, value: str, begin: int, end: int) -> str:
    """Columns `begin : end`."""
    return graph.add("Slice", value, *(graph.constant([each]) for each in (begin, end, -1)))
