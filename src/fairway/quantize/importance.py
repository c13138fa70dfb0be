"""How much each input column of each matrix matters: the mean square of what a model feeds it on a text.

The program that serves the model runs with taps before its matrix products, so the kernels are the same.
Names are GGUF's. The rule: a matrix is judged by its inputs alone; the head is left out, since every mix
gives it enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.gguf_tensors import GgufTensors
from fairway.kernels.program import (
    Backend,
    Buffer,
    CacheShape,
    Limits,
    Linear,
    Matrix,
    Program,
    SelectOutputs,
    Step,
)
from fairway.models.config import DecoderConfig
from fairway.models.families import family, read_config
from fairway.models.recording import Recording
from fairway.models.weights import Weights
from fairway.tensors import F32, I32

BLOCK_SIZE = 16
TAPPED_BYTES = 256 << 20
"""Of inputs that are looked at together."""


@dataclass
class Activations:
    """Sums of squares over the tokens seen so far, by a matrix's GGUF name."""

    sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """[columns], or [experts, columns]."""
    counts: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Tokens, [1] or [experts]."""
    num_windows: int = 0
    window: int = 0
    """Tokens of a window."""

    def add(self, name: str, inputs: F32) -> None:
        """inputs [tokens, columns]"""
        squares = np.square(inputs, dtype=np.float64).sum(axis=0)
        self.sums[name] = self.sums.get(name, 0.0) + squares
        self.counts[name] = self.counts.get(name, np.zeros(1)) + len(inputs)

    @property
    def importance(self) -> dict[str, F32]:
        """Mean squares by name, experts one after another. An expert that saw no token counts evenly."""
        found = {}
        for name, sums in self.sums.items():
            counts = self.counts[name].reshape(-1, 1)
            by_expert = sums.reshape(len(counts), -1)
            means = np.divide(by_expert, counts, out=np.ones_like(by_expert), where=counts > 0)
            found[name] = means.reshape(-1).astype(np.float32)
        return found


@dataclass(frozen=True)
class Tap:
    """One input, as it stands before an operation, and the matrices that read it."""

    operation: int
    buffer: Buffer
    names: tuple[str, ...]


def measure(
    bundle: Bundle,
    backend: Backend,
    windows: Sequence[I32],
    progress: Callable[[int, int], None] | None = None,
) -> Activations:
    """Runs windows of token ids through a GGUF model; `progress` is told windows.

    Raises what `load_model` raises for a model that this engine does not run.
    """
    names = gguf_names(bundle)
    config = read_config(bundle.config, bundle.config_name)
    weights = _NamedWeights(bundle, backend, "stored")
    length = max(len(ids) for ids in windows)
    recording = Recording(config, weights, length)
    family(config.model_type).record(recording)
    taps = [
        replace(tap, names=tuple(names[each] for each in tap.names))
        for tap in find_taps(recording.program, weights.names)
    ]
    found = Activations(window=length)
    tapped = _Tapped(recording.program, taps, config, backend, length)
    for number, ids in enumerate(windows, 1):
        for tap, inputs in tapped.run(ids):
            for name in tap.names:
                found.add(name, inputs)
        found.num_windows = number
        if progress:
            progress(number, len(windows))
    return found


def gguf_names(bundle: Bundle) -> dict[str, str]:
    """Hugging Face's name of a matrix -> GGUF's. Raises `UnsupportedError` for what is no GGUF file."""
    if not isinstance(bundle.tensors, GgufTensors):
        raise UnsupportedError(
            f"{bundle.path} is no GGUF file, and importance is measured for one.",
            hint="Convert the model to GGUF first.",
        )
    return dict(bundle.tensors.gguf_names)


class _NamedWeights(Weights):
    """Remembers which tensors each packed matrix was made of."""

    def __init__(self, bundle: Bundle, backend: Backend, weight_type: str) -> None:
        super().__init__(bundle, backend, weight_type)
        self.names: dict[int, tuple[str, ...]] = {}

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        stack = super().linear(names, sizes, columns, input_first=input_first)
        for matrix in stack:  # all of them read the same input
            self.names[id(matrix)] = tuple(f"{name}.weight" for name in names)
        return stack


def find_taps(program: Program, names: dict[int, tuple[str, ...]]) -> list[Tap]:
    """One for each input of matrices; those of one stack share theirs."""
    found: dict[tuple[str, ...], Tap] = {}
    for index, operation in enumerate(program.operations):
        if isinstance(operation, Linear) and (read := names.get(id(operation.matrix))):
            found.setdefault(read, Tap(index, operation.x, read))
    return list(found.values())


class _Tapped:
    """A program whose taps are copied into one wide output, as many of them at a time as fit."""

    def __init__(
        self, program: Program, taps: Sequence[Tap], config: DecoderConfig, backend: Backend, length: int
    ) -> None:
        self._num_blocks = -(-length // BLOCK_SIZE)
        shape = config.num_layers, self._num_blocks, BLOCK_SIZE, config.num_kv_heads, config.head_size
        limits = Limits(length, 1, length)
        self._parts = [
            (part, backend.compile(with_taps(program, part), CacheShape(*shape, "f32"), limits))
            for part in _parts(taps, length)
        ]

    def run(self, ids: I32) -> Iterator[tuple[Tap, F32]]:
        """Each tap with its float32 [tokens, columns], valid until the next."""
        rows = np.arange(len(ids), dtype=np.int32)
        blocks = np.arange(self._num_blocks, dtype=np.int32)
        step = Step(ids, rows, np.array([0, len(ids)], np.int32), blocks[None], rows)
        for part, executable in self._parts:
            inputs, start = executable.run(step), 0
            for tap in part:
                yield tap, inputs[:, start : start + tap.buffer.width]
                start += tap.buffer.width


def with_taps(program: Program, taps: Sequence[Tap]) -> Program:
    """Runs up to the last tap, and gives their inputs side by side in place of logits."""
    tapped = Program(widths=list(program.widths))
    out, start = tapped.buffer(sum(tap.buffer.width for tap in taps), "outputs"), 0
    at = {tap.operation: tap for tap in taps}
    for index, operation in enumerate(program.operations[: max(at) + 1]):
        if tap := at.get(index):
            tapped.record(SelectOutputs(tap.buffer, out.columns(start, tap.buffer.width)))
            start += tap.buffer.width
        tapped.record(operation)
    tapped.logits = out
    return tapped


def _parts(taps: Sequence[Tap], length: int) -> list[list[Tap]]:
    """In order, none wider than `TAPPED_BYTES`."""
    parts: list[list[Tap]] = [[]]
    for tap in taps:
        width = sum(each.buffer.width for each in parts[-1]) + tap.buffer.width
        if parts[-1] and 4 * length * width > TAPPED_BYTES:
            parts.append([])
        parts[-1].append(tap)
    return parts
