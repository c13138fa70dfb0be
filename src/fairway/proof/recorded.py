"""A model recorded with the names of its weights, so that every operation can be called by one.

The same recording that serves, asked for through a `WeightSource` that remembers who asked for what.
The rule: nothing here changes what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fairway.errors import UnsupportedError
from fairway.kernels.program import Backend, CacheShape, Executable, Limits, Matrix, Program
from fairway.models.config import DecoderConfig
from fairway.models.families import family
from fairway.models.names import check_tensors
from fairway.models.recording import Recording
from fairway.models.sizes import Shapes
from fairway.models.weights import Weights, WeightSource
from fairway.proof.hop import Side
from fairway.tensors import F32

Progress = Callable[[int, int, str], None]
BLOCK_SIZE = 16


@dataclass
class NamedWeights:
    """`WeightSource` that passes everything through and keeps the names."""

    source: WeightSource
    matrices: dict[int, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """id of a matrix -> the layers stacked in it with their rows, top to bottom."""
    arrays: dict[int, str] = field(default_factory=dict)
    """id of a norm's weight or a table of positions -> name."""

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        return self._named(self.source.embedding(name, rows, columns), ((_layer(name), rows),))

    def head(self, name: str, rows: int, columns: int) -> Matrix:
        matrix = self.source.head(name, rows, columns)
        # A head that is the token table keeps the table's name: both are one matrix.
        return matrix if id(matrix) in self.matrices else self._named(matrix, ((_layer(name), rows),))

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        stack = self.source.linear(names, sizes, columns, input_first=input_first)
        waiting = list(zip(names, sizes, strict=True))
        for matrix in stack:
            parts, rows = [], 0
            while rows < matrix.rows:
                parts.append(waiting.pop(0))
                rows += parts[-1][1]
            self._named(matrix, tuple(parts))
        return stack

    def biases(self, names: Sequence[str], sizes: Sequence[int]) -> F32:
        return self.source.biases(names, sizes)

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        values = self.source.floats(name, shape, offset=offset)
        self.arrays[id(values)] = _layer(name)
        return values

    def _named(self, matrix: Matrix, parts: tuple[tuple[str, int], ...]) -> Matrix:
        self.matrices[id(matrix)] = parts
        return matrix


@dataclass(frozen=True)
class Recorded:
    """A forward pass with names. `backend` is None where it has shapes in place of weights."""

    config: DecoderConfig
    program: Program
    names: NamedWeights
    context: int
    backend: Backend | None = None

    def compile(self, program: Program, num_tokens: int, num_outputs: int) -> Executable:
        """A program over these weights, for one sequence of `num_tokens` at most, with an exact cache."""
        assert self.backend is not None
        config = self.config
        num_blocks = -(-num_tokens // BLOCK_SIZE)
        shape = config.num_layers, num_blocks, BLOCK_SIZE, config.num_kv_heads, config.head_size
        return self.backend.compile(
            program, CacheShape(*shape, "f32"), Limits(num_tokens, 1, min(num_outputs, num_tokens))
        )


def record_shapes(side: Side, context: int) -> Recorded:
    """Without weights. Raises `UnsupportedError` for a family that this engine does not run."""
    return record(side, Shapes(), context)


def record_weights(
    side: Side,
    context: int,
    backend: Backend,
    progress: Progress | None = None,
    *,
    takes_adapters: bool = False,
) -> Recorded:
    """With the weights as they are stored, packed for the backend. Raises as `load_model` does."""
    config = _config(side)
    shapes = {name: tensor.shape for name, tensor in side.expected.items()}
    check_tensors(side.bundle, shapes, tied=config.tied_embeddings)
    weights = Weights(side.bundle, backend, "stored", total=len(shapes), progress=progress)
    recorded = record(side, weights, context, backend, takes_adapters=takes_adapters)
    side.release()
    return recorded


def record(
    side: Side,
    weights: WeightSource,
    context: int,
    backend: Backend | None = None,
    *,
    takes_adapters: bool = False,
) -> Recorded:
    """With whatever weights are given."""
    config, names = _config(side), NamedWeights(weights)
    recording = Recording(config, names, context, takes_adapters)
    family(config.model_type).record(recording)
    return Recorded(config, recording.program, names, context, backend)


def _config(side: Side) -> DecoderConfig:
    if side.config is None:
        raise UnsupportedError(side.obstacle or "this model cannot be run")
    return side.config


def _layer(name: str) -> str:
    return name.removesuffix(".weight")
