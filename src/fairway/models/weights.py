"""Weights on their way from a bundle to a backend: one tensor at a time, converted, packed, dropped.

Families ask for tensors by name and shape through `WeightSource`; `Weights` answers from a bundle.
The rule: what is packed is all that grows; a mapped file is let go of after each matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeAlias

import numpy as np

from fairway.errors import FormatError
from fairway.formats.bundle import Bundle
from fairway.kernels.program import Backend, Matrix
from fairway.models.conversion import equal, floats_of, row_slices
from fairway.models.names import stored_names
from fairway.models.parts import Part, pack, tensor_slices, turned_slices
from fairway.tensors import F32, WeightTensor

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, tensor name) after each tensor."""

PIECE_BYTES = 64 << 20
"""float32 values of a mapped tensor whose pages are held at once."""


class WeightSource(Protocol):
    """Where a recording gets its tensors from: a bundle, or nothing but their shapes."""

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        """The token table."""
        ...

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        """The output projection, where it is not the token table."""
        ...

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        """`name.weight` of each name stacked by rows, into as few matrices as their types allow."""
        ...

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        """`name.bias` of each name, end to end."""
        ...

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        """A norm, bias or position table in float32, with `offset` added to every value."""
        ...


def table_type(weight_type: str) -> str:
    """Of the embedding and the head, whose rounding weighs most in an answer: 6 bits or more."""
    return "int6" if weight_type in ("int4", "int5") else weight_type


class Weights:
    """`WeightSource` over a bundle. `num_bytes` is what the packed weights hold so far."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        weight_type: str,
        *,
        total: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.num_bytes = 0
        self._bundle = bundle
        self._backend = backend
        self._weight_type = weight_type
        self._stored = stored_names(bundle.tensors.infos)
        self._total = total
        self._done = 0
        self._embedding: tuple[str, Matrix] | None = None
        self._progress = progress

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        matrix = self._table(name, (rows, columns))
        self._embedding = name, matrix
        return matrix

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        """The embedding's own matrix where the file holds a copy of the embedding."""
        shape = (rows, columns)
        if self._embedding is not None and self._is_copy(name, self._embedding[0], shape):
            self._count(name)
            return self._embedding[1]
        return self._table(name, shape)

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        parts = []
        for name, rows in zip(names, sizes, strict=True):
            slices = self._slices(f"{name}.weight", (rows, columns), input_first=input_first)
            parts.append(Part(slices, rows, self._weight_type))
        return [self._pack(list(stack)) for _, stack in groupby(parts, lambda part: part.layout)]

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        parts = [self.floats(f"{name}.bias", (size,)) for name, size in zip(names, sizes, strict=True)]
        return np.concatenate(parts)

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        values = floats_of(self._read(name, shape))
        values += np.float32(offset)
        self.num_bytes += values.nbytes
        return values

    def _table(self, name: str, shape: tuple[int, int]) -> Matrix:
        weight_type = table_type(self._weight_type)
        return self._pack([Part(self._slices(name, shape), shape[0], weight_type)], weight_type)

    def _is_copy(self, name: str, of: str, shape: tuple[int, int]) -> bool:
        """Whether two tensors of the same file are equal; reads until they are not."""
        stored = self._stored_name(name, shape), self._stored_name(of, shape)
        infos = [self._bundle.tensors.infos[each] for each in stored]
        if not self._bundle.sources or infos[0].type != infos[1].type or infos[0].shape != infos[1].shape:
            return False
        pairs = zip(*(tensor_slices(self._bundle.tensors, each, shape) for each in stored), strict=True)
        return all(equal(a, b) for a, b in pairs)

    def _pack(self, parts: list[Part], weight_type: str | None = None) -> Matrix:
        matrix = pack(parts, weight_type or self._weight_type, self._backend)
        self.num_bytes += matrix.num_bytes
        self._release()
        return matrix

    def _release(self) -> None:
        for source in self._bundle.sources:
            source.release()

    def _slices(
        self, name: str, shape: tuple[int, int], *, input_first: bool = False
    ) -> Iterator[WeightTensor]:
        """Rows of a matrix of that shape, which a family with `input_first` stores turned round."""
        stored = self._stored_name(name, shape[::-1] if input_first else shape)
        slices = turned_slices if input_first else tensor_slices
        total = 0
        for rows in slices(self._bundle.tensors, stored, shape):
            total += rows.shape[0]
            if rows.shape[1:] != shape[1:] or total > shape[0]:
                raise self._misshapen(name, (total, *rows.shape[1:]), shape)
            for piece in row_slices(rows, PIECE_BYTES):
                yield piece
                self._release()
        if total != shape[0]:
            raise self._misshapen(name, (total, *shape[1:]), shape)
        self._count(name)

    def _read(self, name: str, shape: tuple[int, ...]) -> WeightTensor:
        tensor = self._bundle.tensors.read(self._stored_name(name, shape))
        if tensor.shape != shape:
            raise self._misshapen(name, tensor.shape, shape)
        self._count(name)
        return tensor

    def _stored_name(self, name: str, shape: tuple[int, ...]) -> str:
        if name not in self._stored:
            raise FormatError(f"{self._bundle.name}: tensor {name} of shape {shape} is missing.")
        return self._stored[name]

    def _misshapen(self, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> FormatError:
        return FormatError(f"{self._bundle.name}: tensor {name} has shape {found}, expected {expected}.")

    def _count(self, name: str) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total, name)
