"""Packed weights that are kept from one measurement to the next, so that only what changes is packed again.

The rule: what is kept is exact, and what is rounded lives as long as one recording.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence, Set
from typing import Any, TypeVar

from fairway.kernels.program import Matrix
from fairway.models.weights import WeightSource
from fairway.tensors import F32

T = TypeVar("T")


class KeptWeights:
    """`WeightSource` over another. `changed` are tensors, by family name, that the other one rounds."""

    def __init__(self, source: WeightSource, exact: dict[Hashable, Any], changed: Set[str]) -> None:
        self._source = source
        self._exact = exact
        self._changed = changed

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        return self._kept((name,), lambda: self._source.embedding(name, rows, columns))

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        return self._kept((name,), lambda: self._source.head(name, rows, columns))

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        return self._kept(
            tuple(f"{name}.weight" for name in names),
            lambda: self._source.linear(names, sizes, columns, input_first=input_first),
        )

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        return self._kept(tuple(f"{name}.bias" for name in names), lambda: self._source.biases(names, sizes))

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        return self._kept((name,), lambda: self._source.floats(name, shape, offset=offset))

    def _kept(self, names: tuple[str, ...], make: Callable[[], T]) -> T:
        if not self._changed.isdisjoint(names):
            return make()
        if names not in self._exact:
            self._exact[names] = make()
        found: T = self._exact[names]
        return found
