"""Sizes of a model from its config alone: every tensor, the parameter count, bytes per token.

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

# Bits per weight of a matrix: groups of 32 carry one float32 scale.
BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "int8": 9.0, "int4": 5.0}


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

    def floats(self, name: str, shape: tuple[int, ...]) -> F32:
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


def weight_bytes(config: DecoderConfig, weight_type: str) -> int:
    """Bytes of the packed weights, short of a backend's padding, for a type of `BITS`.

    "stored" is not among them: what a file holds is in its header.
    """
    table_type = "int8" if weight_type == "int4" else weight_type
    bits = {"linear": BITS[weight_type], "table": BITS[table_type], "float": 32.0}
    return int(
        sum(tensor.num_elements * bits[tensor.role] for tensor in expected_tensors(config).values()) / 8
    )


def cache_bytes_per_token(config: DecoderConfig, type: Literal["f32", "f16"] = "f16") -> int:
    """Keys and values of one position, all layers."""
    return 2 * config.num_layers * config.kv_size * (4 if type == "f32" else 2)
