"""A Runner without a model, for tests and for trying out everything above it.

Its logits depend on every earlier token, read back through the block table from a paged store that
it really writes. So a block that is shared, evicted or exchanged wrongly changes the tokens, and a
batch that breaks the contract is an InternalError.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.engine.batch import Batch, Chunk
from fairway.errors import InternalError
from fairway.kernels.program import PackedAdapter
from fairway.kernels.sampling import Draw, Score, choose, score
from fairway.tensors import F32

U64: TypeAlias = npt.NDArray[np.uint64]
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class FakeRunner:
    """Deterministic; `step_latency_s` and `token_latency_s` make it as slow as a model."""

    vocab_size: int = 320
    max_context: int = 2048
    num_blocks: int = 512
    block_size: int = 16
    max_tokens: int = 512
    max_sequences: int = 32
    max_outputs: int = 512
    step_latency_s: float = 0.0
    token_latency_s: float = 0.0
    likely_ids: Sequence[int] = ()
    """If given, other ids are never the most likely, for example to get readable letters."""
    before_run: Callable[[Batch], None] | None = None
    """Called first in every run; may raise, to see what a broken model does."""
    num_steps: int = 0
    num_tokens: int = 0
    """Tokens computed in all steps."""
    adapters: set[str] = field(default_factory=set)
    _store: U64 = field(init=False, repr=False)
    _logits: F32 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._store = np.zeros((self.num_blocks, self.block_size), np.uint64)
        self._logits = np.empty((self.max_outputs, self.vocab_size), np.float32)

    def run(self, batch: Batch) -> F32:
        if self.before_run is not None:
            self.before_run(batch)
        self._check(batch)
        self._wait(batch)
        for chunk in batch.chunks:
            self._write(chunk)
        row = 0
        for chunk in batch.chunks:
            self._logits[row : row + chunk.num_outputs] = self._read(chunk)
            row += chunk.num_outputs
        self.num_steps += 1
        self.num_tokens += batch.num_tokens
        return self._logits[:row]

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]:
        return choose(self._logits, rows, draws)

    def score(self, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]:
        return score(self._logits, rows, numbers)

    def load_adapter(self, adapter: str, packed: PackedAdapter) -> None:  # noqa: ARG002  its name says it all
        self.adapters.add(adapter)

    def unload_adapter(self, adapter: str) -> None:
        self.adapters.remove(adapter)

    def _wait(self, batch: Batch) -> None:
        seconds = self.step_latency_s + self.token_latency_s * batch.num_tokens
        if seconds > 0:
            time.sleep(seconds)

    def _write(self, chunk: Chunk) -> None:
        first = chunk.start - len(chunk.virtual)
        positions = np.arange(first, chunk.start + chunk.num_tokens)
        blocks = np.asarray(chunk.block_ids)[positions // self.block_size]
        changed = np.uint64(zlib.crc32(chunk.adapter.encode()))
        numbers = hashed(np.array([0] * len(chunk.virtual) + list(chunk.token_ids)), positions) ^ changed
        self._store[blocks, positions % self.block_size] = numbers

    def _read(self, chunk: Chunk) -> F32:
        """Logits in [-8, 8) of the chunk's last tokens, from all that its blocks hold up to each."""
        end = chunk.start + chunk.num_tokens
        seen = np.cumsum(self._store[np.asarray(chunk.block_ids)].reshape(-1)[:end])
        states = seen[end - chunk.num_outputs :]
        bits = mixed(states[:, None] + np.arange(self.vocab_size, dtype=np.uint64)[None, :] * _ODD)
        logits = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-20) - np.float32(8)
        if len(self.likely_ids):
            logits[:, list(self.likely_ids)] += np.float32(32)
        return logits

    def _check(self, batch: Batch) -> None:
        if not batch.chunks or len(batch.chunks) > self.max_sequences:
            raise InternalError(
                f"A batch of {len(batch.chunks)} chunks; 1 to {self.max_sequences} are possible."
            )
        if batch.num_tokens > self.max_tokens or batch.num_outputs > self.max_outputs:
            raise InternalError(
                f"A batch of {batch.num_tokens} tokens and {batch.num_outputs} outputs is too large."
            )
        if unknown := {chunk.adapter for chunk in batch.chunks} - self.adapters - {""}:
            raise InternalError(f"A batch names adapters that are not loaded: {unknown}.")
        written = [block for chunk in batch.chunks for block in self._written_blocks(chunk)]
        if len(set(written)) != len(written):
            raise InternalError("Two chunks write to the same block.")

    def _written_blocks(self, chunk: Chunk) -> Sequence[int]:
        end = chunk.start + chunk.num_tokens
        if (
            not 0 < end <= self.max_context
            or chunk.num_tokens < 1
            or not 0 <= chunk.num_outputs <= chunk.num_tokens
        ):
            raise InternalError(f"A chunk of {chunk.num_tokens} tokens at {chunk.start} is not possible.")
        if len(chunk.block_ids) != -(-end // self.block_size):
            raise InternalError(f"{len(chunk.block_ids)} blocks for {end} tokens.")
        first = chunk.virtual.start if chunk.virtual else chunk.start
        if chunk.virtual and chunk.virtual.stop != chunk.start:
            raise InternalError(f"Virtual tokens {chunk.virtual} before a chunk at {chunk.start}.")
        return chunk.block_ids[first // self.block_size :]


def hashed(token_ids: npt.NDArray[np.signedinteger], positions: npt.NDArray[np.signedinteger]) -> U64:
    """One number per token and position."""
    return mixed(token_ids.astype(np.uint64) * _ODD + mixed(positions.astype(np.uint64)))


def mixed(values: U64) -> U64:
    """SplitMix64's finaliser, element by element."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
