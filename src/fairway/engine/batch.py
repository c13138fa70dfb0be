"""One step's work, as the scheduler decided it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chunk:
    """`num_tokens` tokens of one request, from position `start`.

    Logits are wanted for the last `num_outputs` of them: 0 in the middle of a prompt, 1 when the
    next token is to be sampled, more for prompt log probabilities.
    """

    request_id: str
    token_ids: Sequence[int]
    start: int
    num_outputs: int
    block_ids: Sequence[int]
    """Blocks that hold positions 0 .. start + num_tokens - 1, in order.

    Valid until the next step: the engine's own list, and a block may be exchanged for one of the same
    content between two steps.
    """

    adapter: str = ""
    """Identity of the request's adapter; none if empty."""
    virtual: range = range(0)
    """Positions right before `start` whose keys and values are the adapter's and not in the blocks yet."""

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True)
class Batch:
    """Chunks of different requests, run together."""

    chunks: tuple[Chunk, ...]

    @property
    def num_tokens(self) -> int:
        return sum(chunk.num_tokens for chunk in self.chunks)

    @property
    def num_outputs(self) -> int:
        return sum(chunk.num_outputs for chunk in self.chunks)
