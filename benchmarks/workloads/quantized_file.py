"""How far a quantised GGUF file is from its source: the error of its matrices, and its predictions.

Both files' weights are widened to float32 and run by the same exact products, so that nothing but the weights
differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers.protocol import Model
from benchmarks.workloads.variations import Loaded, Variation
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_types import decode_float32
from fairway.proof.likeness import Comparison
from fairway.quantize.quantize_gguf import quantize_gguf
from fairway.tensors import F32, I32


class Judge:
    """Knows a source's matrices, and its logits for windows of text."""

    def __init__(self, model: Model, source: Path, ids: Sequence[I32], threads: int) -> None:
        self._model, self._ids, self._threads = model, ids, threads
        self._widened = source.with_name("widened.gguf")
        self._weights = dict(matrices(source))
        self._exact = list(self._logits(source))

    def judge(self, path: Path) -> dict[str, float]:
        """`error` is the root mean square over that of the weights; KL(source || file) in nats per token."""
        comparison = Comparison()
        for exact, logits, ids in zip(self._exact, self._logits(path), self._ids, strict=True):
            comparison.add(exact, logits, ids)
        likeness = comparison.result()
        error = relative_error(self._weights, dict(matrices(path)))
        return {"error": error, "kl_mean": likeness.kl_mean, "same_top": likeness.same_top}

    def _logits(self, path: Path) -> Iterator[F32]:
        quantize_gguf(path, self._widened, "F32", requantize=True)
        exact = Variation("stored", "f32", file=self._widened)
        loaded = Loaded(self._model.folder, exact, len(self._ids[0]), self._threads)
        for ids in self._ids:
            yield loaded.logits(ids).copy()


def matrices(path: Path) -> Iterator[tuple[str, F32]]:
    """Every tensor of a GGUF file that is no vector, as float32."""
    file = open_gguf(path)
    for name, tensor in file.tensors.items():
        if len(tensor.info.shape) > 1:
            yield name, decode_float32(tensor.type, file.raw(tensor))


def relative_error(weights: dict[str, F32], found: dict[str, F32]) -> float:
    errors = sum(float(np.square(found[name] - weights[name], dtype=np.float64).sum()) for name in weights)
    squares = sum(float(np.square(each, dtype=np.float64).sum()) for each in weights.values())
    return float((errors / squares) ** 0.5)
