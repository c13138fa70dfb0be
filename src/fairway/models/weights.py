"""Weights on their way from a bundle to a backend: one tensor at a time, converted, packed, dropped.

Families ask for tensors by name and shape through `WeightSource`; `Weights` answers from a bundle.
The rule: never more than one stack of projections (or the embedding) is held beside what is packed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from fairway.errors import FormatError
from fairway.formats.bundle import Bundle
from fairway.kernels.program import Backend, Matrix
from fairway.models.conversion import convert, floats_of, stack, stacks_with, transpose
from fairway.models.names import stored_names
from fairway.tensors import F32, WeightTensor

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, tensor name) after each tensor."""


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
        self._progress = progress

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        return self._table(name, (rows, columns))

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        return self._table(name, (rows, columns))

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        matrices: list[Matrix] = []
        parts: list[WeightTensor] = []
        for name, rows in zip(names, sizes, strict=True):
            shape = (columns, rows) if input_first else (rows, columns)
            tensor = self._read(f"{name}.weight", shape)
            tensor = convert(transpose(tensor) if input_first else tensor, self._weight_type)
            if parts and not stacks_with(parts[-1], tensor):
                matrices.append(self._pack(parts))
                parts = []
            parts.append(tensor)
        return [*matrices, self._pack(parts)]

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        parts = [self.floats(f"{name}.bias", (size,)) for name, size in zip(names, sizes, strict=True)]
        return np.concatenate(parts)

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        values = floats_of(self._read(name, shape))
        values += np.float32(offset)
        self.num_bytes += values.nbytes
        return values

    def _table(self, name: str, shape: tuple[int, int]) -> Matrix:
        # A token's row and its logit weigh more in the answer than any other value: never below 8 bits.
        weight_type = "int8" if self._weight_type == "int4" else self._weight_type
        return self._pack([convert(self._read(name, shape), weight_type)])

    def _pack(self, parts: list[WeightTensor]) -> Matrix:
        matrix = self._backend.matrix(stack(parts))
        parts.clear()
        self.num_bytes += matrix.num_bytes
        return matrix

    def _read(self, name: str, shape: tuple[int, ...]) -> WeightTensor:
        if name not in self._stored:
            raise FormatError(f"{self._bundle.name}: tensor {name} of shape {shape} is missing.")
        tensor = self._bundle.tensors.read(self._stored[name])
        if tensor.shape != shape:
            raise FormatError(
                f"{self._bundle.name}: tensor {name} has shape {tensor.shape}, expected {shape}."
            )
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total, name)
        return tensor
