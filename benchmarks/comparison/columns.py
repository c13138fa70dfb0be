"""What is measured: the columns of the table and the batches that give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LOAD = "load"
HTTP = "http"
"""Two that are not a batch: the start of a worker, and everything over HTTP."""
PREFILL_TOKENS = 512
SHORTEST_GENERATION = 16


@dataclass(frozen=True)
class Column:
    """One batch: `batch` prompts of `prompt` tokens, `generate` decoding steps after the first token."""

    key: str
    title: str
    batch: int
    prompt: int
    generate: int

    @property
    def is_prefill(self) -> bool:
        return self.generate == 0

    @property
    def length(self) -> int:
        """Of one prompt and its answer."""
        return self.prompt + self.generate + 1

    def rate(self, times: dict[str, float]) -> float:
        """Tokens per second, of a worker's answer."""
        if self.is_prefill:
            return self.batch * self.prompt / times["first_s"]
        return times["num_after_first"] / times["after_first_s"]


def columns_for(context: int, decode_context: int) -> tuple[Column, ...]:
    """The four batch columns, cut to what a model with a short `context` can hold."""
    prompt = min(PREFILL_TOKENS, context - SHORTEST_GENERATION)
    decoding = [("stream", "1 stream", 1, 64), ("batch8", "batch 8", 8, 32), ("batch32", "batch 32", 32, 16)]
    columns = [Column("prefill", f"prefill {prompt}", 1, prompt, 0)]
    for key, title, batch, generate in decoding:
        columns.append(Column(key, title, batch, min(decode_context, context - generate - 1), generate))
    return tuple(columns)


COLUMN_KEYS = ("prefill", "stream", "batch8", "batch32", LOAD, HTTP)


class Prompts:
    """Random token ids, none twice, the same in every run; id 0 (the end of text) never."""

    def __init__(self, vocab_size: int, seed: int = 0) -> None:
        self._vocab_size = vocab_size
        self._random = np.random.default_rng(seed)

    def take(self, column: Column) -> list[list[int]]:
        return list(self._draw(column.batch, column.prompt))

    def _draw(self, count: int, size: int) -> Iterator[list[int]]:
        for _ in range(count):
            yield self._random.integers(3, self._vocab_size, size).tolist()


def longest(columns: Sequence[Column]) -> int:
    return max(column.length for column in columns)
