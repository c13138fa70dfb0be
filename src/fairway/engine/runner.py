"""The one thing the engine knows of a model: it turns a batch into logits, and these into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fairway.engine.batch import Batch
from fairway.kernels.program import PackedAdapter
from fairway.kernels.sampling import Draw, Score
from fairway.tensors import F32


class Runner(Protocol):
    """Runs batches over a paged key-value cache. Called from the worker thread only.

    `run` writes keys and values of every token in the batch, and of the virtual ones that its chunks
    name, to the blocks its request holds, and changes nothing else. The same token with the same
    tokens before it always gives the same logits, bit for bit, whatever else is in the batch, however
    its prompt was chunked and whether its prefix was computed now or found in the cache.
    """

    vocab_size: int
    max_context: int
    """Tokens that prompt and answer may have together."""
    num_blocks: int
    block_size: int
    max_tokens: int
    """Most tokens in one batch; also `max_sequences` and `max_outputs`."""
    max_sequences: int
    max_outputs: int

    def run(self, batch: Batch) -> F32:
        """Logits float32 [sum of chunk.num_outputs, vocab_size], in the order of the chunks.

        A view that is valid until the next call; a row may be changed before one is chosen from.
        """
        ...

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]:
        """A token from each of these rows of the last run's logits, as they are now.

        As `kernels.sampling.choose` means it: None where the row is no finite numbers.
        """
        ...

    def score(self, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]:
        """What log probabilities are made of, of these rows as they are now; `kernels.sampling.score`."""
        ...

    def load_adapter(self, adapter: str, packed: PackedAdapter) -> None:
        """Chunks may name it from now on. Between two runs, as `unload_adapter`."""
        ...

    def unload_adapter(self, adapter: str) -> None: ...
