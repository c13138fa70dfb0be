"""How long examples are, as a few numbers and a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairway.tune.packing import pack

MOST_BINS = 14
STEPS = (1, 2, 5)
MOST_PACKED = 200_000
"""Examples for which the packing is tried out."""


@dataclass(frozen=True)
class Lengths:
    """Of all examples, in tokens."""

    shortest: int
    median: int
    p95: int
    longest: int
    bins: tuple[tuple[int, int, int], ...]
    """(from, to, number of examples), `to` not included."""


@dataclass(frozen=True)
class Packing:
    """What packing would make of the examples."""

    num_sequences: int
    length: int
    fill: float
    """Share of the sequences' tokens that are examples."""

    def __str__(self) -> str:
        sequences = "1 sequence" if self.num_sequences == 1 else f"{self.num_sequences:,} sequences"
        return f"{sequences} of {self.length:,} tokens, {self.fill:.1%} full"


def lengths_of(lengths: Sequence[int]) -> Lengths | None:
    """None where there are none."""
    if not len(lengths):
        return None
    values = np.asarray(lengths)
    width = _width(int(values.max()))
    counts = np.bincount(values // width)
    bins = tuple((at * width, (at + 1) * width, int(count)) for at, count in enumerate(counts))
    median, p95 = (int(np.percentile(values, share, method="nearest")) for share in (50, 95))
    return Lengths(int(values.min()), median, p95, int(values.max()), bins)


def packing_of(lengths: Sequence[int], capacity: int | None) -> Packing | None:
    """None without a length, or with more examples than are worth trying."""
    fitting = [length for length in lengths if capacity is not None and length <= capacity]
    if capacity is None or not fitting or len(fitting) > MOST_PACKED:
        return None
    packs = pack(fitting, capacity, seed=0)
    return Packing(len(packs), capacity, sum(fitting) / (len(packs) * capacity))


def _width(longest: int) -> int:
    """1, 2, 5, 10, 20, ...: the first that needs no more than `MOST_BINS`."""
    scale = 1
    while True:
        for step in STEPS:
            if longest // (step * scale) < MOST_BINS:
                return step * scale
        scale *= 10
