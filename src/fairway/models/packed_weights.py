"""Weight sources that write what they are asked for into a packed file, and that read it back.

One name per request, made here, is used both ways; `Requests` lists them without any weights. The
rule: a model recorded over `PackedWeights` is the model recorded over what was written, to the bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairway import __version__
from fairway.errors import FormatError
from fairway.formats.source import Source
from fairway.kernels.packing import LAYOUT
from fairway.kernels.program import Matrix
from fairway.models.packed_file import FORMAT, PackedFile, PackedWriter
from fairway.models.sizes import ShapeMatrix, Shapes
from fairway.models.weights import WeightSource
from fairway.tensors import F32


def linear_name(names: Sequence[str], sizes: Sequence[int], columns: int) -> str:
    return f"{' + '.join(names)}: {' + '.join(map(str, sizes))} x {columns}"


def table_name(name: str, rows: int, columns: int) -> str:
    return linear_name([name], [rows], columns)


def floats_name(name: str, shape: tuple[int, ...], offset: float) -> str:
    return f"{name}: {' x '.join(map(str, shape))} {offset:+g}"


@dataclass(frozen=True)
class Wanted:
    """The packed weights that a model asks for."""

    model: str
    """What a listing calls them."""
    sources: Sequence[Source]
    weight_type: str
    requests: Sequence[str]
    """Everything that will be asked of the file, by name."""

    @property
    def num_bytes(self) -> int:
        """Of the checkpoint."""
        return sum(source.size for source in self.sources)

    def key(self, content: str) -> str:
        """A name for these weights made from that content, by this version of the program."""
        parts = [FORMAT, LAYOUT, __version__, self.weight_type, content, *self.requests]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Requests(Shapes):
    """The name of every request of a model, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        self.names.append(table_name(name, rows, columns))
        return super().embedding(name, rows, columns)

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        self.names.append(linear_name(names, sizes, columns))
        return super().linear(names, sizes, columns, input_first=input_first)

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        self.names.append(floats_name(name, shape, offset))
        return super().floats(name, shape, offset=offset)


class PackingWeights:
    """Passes every answer of another source on to a file and keeps none: a model's first half of loading."""

    def __init__(self, source: WeightSource, writer: PackedWriter) -> None:
        self._source = source
        self._writer = writer
        self._embedding: tuple[str, Matrix] | None = None

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        matrix = self._source.embedding(name, rows, columns)
        self._embedding = table_name(name, rows, columns), matrix
        return self._write(table_name(name, rows, columns), [matrix])[0]

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        matrix = self._source.head(name, rows, columns)
        if self._embedding is not None and matrix is self._embedding[1]:
            self._writer.repeat(table_name(name, rows, columns), self._embedding[0])
            return ShapeMatrix(rows, columns)
        return self._write(table_name(name, rows, columns), [matrix])[0]

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        matrices = self._source.linear(names, sizes, columns, input_first=input_first)
        return self._write(linear_name(names, sizes, columns), matrices)

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        parts = [self.floats(f"{name}.bias", (size,)) for name, size in zip(names, sizes, strict=True)]
        return np.concatenate(parts)

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        values = self._source.floats(name, shape, offset=offset)
        self._writer.floats(floats_name(name, shape, offset), values)
        return values

    def _write(self, name: str, matrices: Sequence[Matrix]) -> list[Matrix]:
        self._writer.matrices(name, matrices)
        return [ShapeMatrix(matrix.rows, matrix.columns) for matrix in matrices]


class PackedWeights:
    """`WeightSource` over a packed file. `num_bytes` is what its weights hold so far."""

    def __init__(self, file: PackedFile) -> None:
        self.num_bytes = 0
        self._file = file
        self._embedding: tuple[str, Matrix] | None = None

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        wanted = table_name(name, rows, columns)
        matrix = self._matrices(wanted, rows, columns)[0]
        self._embedding = wanted, matrix
        return matrix

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        wanted = table_name(name, rows, columns)
        if self._embedding is not None and self._file.is_repeated(wanted, self._embedding[0]):
            return self._embedding[1]
        return self._matrices(wanted, rows, columns)[0]

    def linear(
        self,
        names: Sequence[str],
        sizes: Sequence[int],
        columns: int,
        *,
        input_first: bool = False,  # noqa: ARG002  they lie as the kernels want them
    ) -> list[Matrix]:
        return self._matrices(linear_name(names, sizes, columns), sum(sizes), columns)

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        parts = [self.floats(f"{name}.bias", (size,)) for name, size in zip(names, sizes, strict=True)]
        return np.concatenate(parts)

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        values = self._file.floats(floats_name(name, shape, offset))
        self.num_bytes += values.nbytes
        return values

    def _matrices(self, name: str, rows: int, columns: int) -> list[Matrix]:
        matrices = self._file.matrices(name)
        if sum(m.rows for m in matrices) != rows or any(m.columns != columns for m in matrices):
            raise FormatError(f"The packed weights hold another {name}.")
        self.num_bytes += sum(matrix.num_bytes for matrix in matrices)
        return matrices
