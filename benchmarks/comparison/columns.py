"""What is measured: the columns of the table and the batches that give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOAD = "load_s"
FIRST_LOAD = "first_load_s"
MEMORY = "memory_bytes"
"""Three that are not a batch: how a worker starts, how it starts the first time, what it holds at most."""
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


BATCH_KEYS = ("prefill", "stream", "batch8", "batch32")
OTHER_TITLES = {"load": {FIRST_LOAD: "first load, s", LOAD: "load, s"}, "memory": {MEMORY: "memory, GB"}}
COLUMN_KEYS = (*BATCH_KEYS, *OTHER_TITLES)


def titles_of(keys: Sequence[str], columns: Sequence[Column]) -> dict[str, str]:
    """Of the chosen `keys`, in the order of the table."""
    titles = {column.key: column.title for column in columns}
    for key, more in OTHER_TITLES.items():
        titles |= more if key in keys else {}
    return titles


def lower_is_better(key: str) -> bool:
    """Times and sizes."""
    return key.endswith(("_s", "_bytes"))


class Prompts:
    """Random token ids, none twice, the same in every run; id 0 (the end of text) never."""

    def __init__(self, vocab_size: int, seed: int = 0) -> None:
        self._vocab_size = vocab_size
        self._random = np.random.default_rng(seed)

    def take(self, batch: int, size: int) -> list[list[int]]:
        return [self._random.integers(3, self._vocab_size, size).tolist() for _ in range(batch)]
