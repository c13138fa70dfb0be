"""Sizes of a model from its config alone: every tensor and the parameter count.

The forward pass is recorded against shapes instead of weights, so these numbers come from the same
lines as the model itself and cannot drift from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np

from fairway.kernels.program import Matrix
from fairway.models.config import DecoderConfig
from fairway.models.families import family
from fairway.models.recording import Recording
from fairway.tensors import F32

Role = Literal["table", "linear", "float"]


@dataclass(frozen=True)
class Expected:
    """One tensor that a config calls for, as Hugging Face stores it."""

    shape: tuple[int, ...]
    role: Role

    @property
    def num_elements(self) -> int:
        return prod(self.shape)


@dataclass
class ShapeMatrix:
    """A matrix without values."""

    rows: int
    columns: int
    num_bytes: int = 0
    is_integer: bool = False


@dataclass
class Shapes:
    """`WeightSource` that writes down what is asked for and answers with nothing in it."""

    tensors: dict[str, Expected] = field(default_factory=dict)

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        self.tensors[name] = Expected((rows, columns), "table")
        return ShapeMatrix(rows, columns)

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        return self.embedding(name, rows, columns)

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        for name, rows in zip(names, sizes, strict=True):
            shape = (columns, rows) if input_first else (rows, columns)
            self.tensors[f"{name}.weight"] = Expected(shape, "linear")
        return [ShapeMatrix(sum(sizes), columns)]

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        for name, size in zip(names, sizes, strict=True):
            self.floats(f"{name}.bias", (size,))
        return _nothing((sum(sizes),))

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:  # noqa: ARG002
        self.tensors[name] = Expected(shape, "float")
        return _nothing(shape)


def _nothing(shape: tuple[int, ...]) -> F32:
    """Zeros that occupy one float."""
    return np.broadcast_to(np.float32(0), shape)


def expected_tensors(config: DecoderConfig) -> dict[str, Expected]:
    """Every tensor the model reads, in the order it reads them."""
    shapes = Shapes()
    family(config.model_type).record(Recording(config, shapes, config.max_context))
    return shapes.tensors


def num_parameters(config: DecoderConfig) -> int:
    """Exact; a tied embedding counts once."""
    return sum(tensor.num_elements for tensor in expected_tensors(config).values())
