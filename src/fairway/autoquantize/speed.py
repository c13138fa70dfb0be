"""How fast a model writes one token after another on this machine: the forward pass alone, one sequence.

The rule: short. A type is told from another by a few dozen steps, and a table has many rows.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from fairway.proof.forward import one_sequence
from fairway.proof.recorded import BLOCK_SIZE, Recorded

READ, WRITTEN = 16, 32
"""Tokens before the clock starts, and steps that it counts; a short context has fewer of both."""
LEAST_S = 0.2
"""A small model takes the same steps again until so much was counted."""


def decode_rate(recorded: Recorded) -> float:
    """Tokens per second: the median step."""
    read = min(READ, recorded.context // 2)
    total = min(READ + WRITTEN, recorded.context)
    num_blocks = -(-total // BLOCK_SIZE)
    executable = recorded.compile(recorded.program, total, read)
    ids = (np.arange(total) % recorded.config.vocab_size).astype(np.int32)
    executable.run(one_sequence(ids[:read], 0, num_blocks))
    seconds: list[float] = []
    while sum(seconds) < LEAST_S:
        for place in range(read, total):
            start = time.perf_counter()
            executable.run(one_sequence(ids[place : place + 1], place, num_blocks))
            seconds.append(time.perf_counter() - start)
    return 1 / statistics.median(seconds)
