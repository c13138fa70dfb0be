"""A family's forward pass recorded against the names of its tensors, so that another library can run it.

The same recording that serves a model trains it: no family is written a second time. The rule: what a
recording asks for stays a name here; nothing is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairway.kernels.program import Matrix, Program
from fairway.models.config import DecoderConfig
from fairway.models.families import family
from fairway.models.recording import Recording
from fairway.tensors import F32


@dataclass(frozen=True)
class NamedMatrix:
    """Linear layers that read the same input, each `sizes` rows high; `y = x @ W.T`."""

    names: tuple[str, ...]
    """Of the tensors, with ".weight"."""
    sizes: tuple[int, ...]
    columns: int
    input_first: bool = False
    """Stored [columns, rows]."""
    num_bytes: int = 0
    is_integer: bool = False

    @property
    def rows(self) -> int:
        return sum(self.sizes)


class NamedFloats(np.ndarray[tuple[int, ...], np.dtype[np.float32]]):
    """A vector or table that stands for tensors end to end, with `offset` added to every value.

    Its zeros occupy one float. Views keep the names; recordings take views of the whole only.
    """

    names: tuple[str, ...] = ()
    offset: float = 0.0

    def __array_finalize__(self, parent: object) -> None:
        if isinstance(parent, NamedFloats):
            self.names, self.offset = parent.names, parent.offset


def named_floats(names: Sequence[str], shape: tuple[int, ...], offset: float = 0.0) -> NamedFloats:
    array = np.broadcast_to(np.float32(0), shape).view(NamedFloats)
    array.names, array.offset = tuple(names), offset
    return array


class NamedWeights:
    """`WeightSource` that answers with names."""

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        return NamedMatrix((name,), (rows,), columns)

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        return NamedMatrix((name,), (rows,), columns)

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        return [NamedMatrix(tuple(f"{name}.weight" for name in names), tuple(sizes), columns, input_first)]

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        return named_floats([f"{name}.bias" for name in names], (sum(sizes),))

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        return named_floats([name], shape, offset)


def recorded(config: DecoderConfig) -> Program:
    """The forward pass of one model, whose weights are `NamedMatrix` and `NamedFloats`."""
    recording = Recording(config, NamedWeights(), config.max_context)
    family(config.model_type).record(recording)
    return recording.program
