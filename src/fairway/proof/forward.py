"""A model's logits for every token of a text, some rows at a time, through the kernels that serve it.

Weights as they are stored, an exact cache, one sequence. The rule: no more than `CHUNK_BYTES` of logits
exist at once, whatever the vocabulary; chunking changes no bit of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fairway.errors import UsageError
from fairway.kernels.program import Delta, Executable, Step
from fairway.proof.recorded import BLOCK_SIZE, Recorded
from fairway.tensors import F32, I32
from fairway.text.tokenizer import Tokenizer

CHUNK_BYTES = 32 << 20
MOST_ROWS = 256


def rows_at_once(vocab_size: int) -> int:
    """Rows of logits that make a chunk."""
    return max(1, min(MOST_ROWS, CHUNK_BYTES // (4 * vocab_size)))


class Forward:
    """Runs windows of at most `length` ids; every window begins anew."""

    def __init__(self, recorded: Recorded, length: int, adapter: Mapping[str, Delta] | None = None) -> None:
        """`adapter`: what is added beside the weights of a program that takes it."""
        self._rows = min(length, rows_at_once(recorded.config.vocab_size))
        self._num_blocks = -(-length // BLOCK_SIZE)
        self._executable = recorded.compile(recorded.program, self._num_blocks * BLOCK_SIZE, self._rows)
        self._adapters = None if adapter is None else np.zeros(1, np.int32)
        if adapter is not None:
            self._executable.put_adapter(0, self._executable.pack_adapter(adapter))

    def logits(self, ids: I32) -> Iterator[F32]:
        """float32 [rows, vocabulary], valid until the next is asked for."""
        for start in range(0, len(ids), self._rows):
            part = ids[start : start + self._rows]
            step = one_sequence(part, start, self._num_blocks)
            yield self._executable.run(replace(step, adapters=self._adapters))


def one_sequence(ids: I32, start: int, num_blocks: int) -> Step:
    """Tokens of the only sequence from position `start` on, all of them outputs."""
    count = np.arange(len(ids), dtype=np.int32)
    blocks = np.arange(num_blocks, dtype=np.int32)
    return Step(ids, count + np.int32(start), np.array([0, len(ids)], np.int32), blocks[None], count)


def run_once(executable: Executable, ids: I32) -> F32:
    """All rows of a short sequence at once: a copy."""
    return np.array(executable.run(one_sequence(ids, 0, -(-len(ids) // BLOCK_SIZE))))


def windows(tokenizer: Tokenizer, texts: Sequence[str], length: int, count: int) -> list[I32]:
    """`count` windows of `length` ids, evenly from all texts; each begins with BOS if there is one.

    Raises `UsageError` where no text fills a window.
    """
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    size, found = length - len(begin), []
    for ids in (tokenizer.encode(text, add_special_tokens=False) for text in texts):
        found += [begin + ids[start : start + size] for start in range(0, len(ids) - size + 1, size)]
    if not found:
        raise UsageError(
            f"The text is shorter than {length} tokens.",
            hint="Give a longer text, or ask for shorter windows.",
        )
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [np.array(found[index], np.int32) for index in chosen]
