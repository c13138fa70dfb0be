"""Runs the engine's batches on a compiled model: chunks become the arrays of one step.

Knows blocks and positions, not how a model computes. Everything that depends on the batch is
written into arrays allocated once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from fairway.engine.batch import Batch, Chunk
from fairway.errors import InternalError
from fairway.kernels.program import (
    CachedTokens,
    CacheShape,
    Delta,
    Executable,
    Limits,
    PackedAdapter,
    Step,
)
from fairway.kernels.sampling import Draw, Score
from fairway.tensors import F32

NO_WEIGHTS = -1


class CompilableModel(Protocol):
    """The part of `models.loader.Model` that a runner needs."""

    max_context: int

    @property
    def vocab_size(self) -> int: ...

    def compile(self, cache: CacheShape, limits: Limits) -> Executable: ...


class ModelRunner:
    """`engine.runner.Runner` over one executable and its cache.

    `vocab_size` limits which tokens can be chosen: many checkpoints pad their logits beyond the
    tokenizer's last token.
    """

    def __init__(
        self, model: CompilableModel, cache: CacheShape, limits: Limits, *, vocab_size: int | None = None
    ) -> None:
        self.vocab_size = min(model.vocab_size, vocab_size or model.vocab_size)
        self.max_context = model.max_context
        self.num_blocks = cache.num_blocks
        self.block_size = cache.block_size
        self.max_tokens = limits.max_tokens
        self.max_sequences = limits.max_sequences
        self.max_outputs = limits.max_outputs
        self._executable = model.compile(cache, limits)
        self._slots: dict[str, int] = {}
        """Identity -> slot of its weights, NO_WEIGHTS of a prefix."""
        self._prefixes: dict[str, CachedTokens] = {}
        self._arrays = StepArrays(limits, max_blocks=-(-model.max_context // cache.block_size))

    def run(self, batch: Batch) -> F32:
        """Logits float32 [batch.num_outputs, vocab_size], a view until the next call."""
        for chunk in batch.chunks:
            if chunk.virtual:
                self._store_virtual(chunk)
        return self._executable.run(self._arrays.fill(batch, self._slots))[:, : self.vocab_size]

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]:
        return self._executable.choose(rows, draws, self.vocab_size)

    def score(self, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]:
        return self._executable.score(rows, numbers, self.vocab_size)

    def pack_adapter(self, deltas: Mapping[str, Delta]) -> PackedAdapter:
        """Deltas by the names of the layers that they change. Safe from any thread."""
        return self._executable.pack_adapter(deltas)

    def load_adapter(self, adapter: str, packed: PackedAdapter) -> None:
        if isinstance(packed, CachedTokens):
            self._prefixes[adapter], self._slots[adapter] = packed, NO_WEIGHTS
            return
        taken = set(self._slots.values())
        slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        self._executable.put_adapter(slot, packed)
        self._slots[adapter] = slot

    def unload_adapter(self, adapter: str) -> None:
        slot = self._slots.pop(adapter)
        if self._prefixes.pop(adapter, None) is None:
            self._executable.put_adapter(slot, None)

    def _store_virtual(self, chunk: Chunk) -> None:
        tokens, positions = self._prefixes[chunk.adapter], np.array(chunk.virtual)
        blocks = np.asarray(chunk.block_ids)[positions // self.block_size]
        places = (blocks * self.block_size + positions % self.block_size).astype(np.int32)
        self._executable.put_cached(places, tokens.keys[:, positions], tokens.values[:, positions])


class StepArrays:
    """The arrays of a step, allocated once at their largest.

    Sequences of one adapter are neighbours, so that its weights are read once.
    """

    def __init__(self, limits: Limits, max_blocks: int) -> None:
        self._limits = limits
        self._token_ids = np.zeros(limits.max_tokens, np.int32)
        self._positions = np.zeros(limits.max_tokens, np.int32)
        self._starts = np.zeros(limits.max_sequences + 1, np.int32)
        self._block_tables = np.zeros((limits.max_sequences, max_blocks), np.int32)
        self._output_rows = np.zeros(limits.max_outputs, np.int32)
        self._adapters = np.zeros(limits.max_sequences, np.int32)
        self._count = np.arange(limits.max_tokens, dtype=np.int32)

    def fill(self, batch: Batch, slots: Mapping[str, int]) -> Step:
        """The batch as a step; `slots` are the adapters'. The views are valid until the next call."""
        self._refuse_oversized(batch)
        chosen = [slots[chunk.adapter] if chunk.adapter else -1 for chunk in batch.chunks]
        adapts = max(chosen) >= 0
        order = sorted(range(len(chosen)), key=chosen.__getitem__) if adapts else range(len(chosen))
        ends = [0] * len(chosen)
        num_tokens = 0
        for row, index in enumerate(order):
            chunk = batch.chunks[index]
            self._add(row, chunk, num_tokens)
            num_tokens += chunk.num_tokens
            self._starts[row + 1] = ends[index] = num_tokens
            self._adapters[row] = chosen[index]
        num_outputs = self._choose_outputs(batch, ends)
        return self._step(len(chosen), num_tokens, num_outputs, adapts)

    def _choose_outputs(self, batch: Batch, ends: Sequence[int]) -> int:
        """Output rows in the order of the chunks, each of which ends before token `ends[i]`; how many."""
        count = 0
        for chunk, end in zip(batch.chunks, ends, strict=True):
            rows = self._count[end - chunk.num_outputs : end]
            self._output_rows[count : count + chunk.num_outputs] = rows
            count += chunk.num_outputs
        return count

    def _add(self, row: int, chunk: Chunk, first: int) -> None:
        last = first + chunk.num_tokens
        self._token_ids[first:last] = chunk.token_ids
        np.add(self._count[: chunk.num_tokens], chunk.start, out=self._positions[first:last])
        self._block_tables[row, : len(chunk.block_ids)] = chunk.block_ids

    def _step(self, num_sequences: int, num_tokens: int, num_outputs: int, adapts: bool) -> Step:
        return Step(
            token_ids=self._token_ids[:num_tokens],
            positions=self._positions[:num_tokens],
            starts=self._starts[: num_sequences + 1],
            block_tables=self._block_tables[:num_sequences],
            output_rows=self._output_rows[:num_outputs],
            adapters=self._adapters[:num_sequences] if adapts else None,
        )

    def _refuse_oversized(self, batch: Batch) -> None:
        limits = self._limits
        wanted = (batch.num_tokens, len(batch.chunks), batch.num_outputs)
        allowed = (limits.max_tokens, limits.max_sequences, limits.max_outputs)
        if any(want > most for want, most in zip(wanted, allowed, strict=True)):
            raise InternalError(f"A batch of {wanted} tokens, sequences, outputs exceeds {allowed}.")
