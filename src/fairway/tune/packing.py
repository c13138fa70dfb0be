"""Several examples in one sequence, with the boundaries that attention needs.

First fit: every example, in a shuffled order, goes into the first sequence with room for it. The rule: no
example is split, none sees another, and the same seed packs the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fairway.errors import UsageError
from fairway.tune.encode import IGNORED, Example
from fairway.tune.order import shuffled


@dataclass(frozen=True, eq=False)
class Packed:
    """One sequence for the trainer. Arrays are [num_tokens]."""

    ids: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    """Not shifted; the first token of each example is `IGNORED`, for the one before it is a stranger's."""
    positions: npt.NDArray[np.int32]
    """From 0 in every example."""
    segments: npt.NDArray[np.int32]
    """Which example a token belongs to, from 0; attention stays within one."""
    lengths: tuple[int, ...]
    """Of the examples, in order; their running sum is what variable-length attention takes."""


def pack(lengths: Sequence[int], capacity: int, *, seed: int, epoch: int = 0) -> list[list[int]]:
    """Which examples share a sequence of at most `capacity` tokens, as indices into `lengths`.

    Raises `UsageError` for an example that no sequence can hold.
    """
    rooms = _Rooms(len(lengths), capacity)
    packs: list[list[int]] = []
    for index in shuffled(len(lengths), seed=seed, epoch=epoch).tolist():
        if lengths[index] > capacity:
            raise UsageError(f"Example {index} has {lengths[index]:,} tokens and a sequence {capacity:,}.")
        at = rooms.take(lengths[index])
        if at == len(packs):
            packs.append([])
        packs[at].append(index)
    return packs


def join(examples: Sequence[Example]) -> Packed:
    """One sequence of `examples`, none of which is empty."""
    lengths = tuple(len(each) for each in examples)
    labels = [each.labels for each in examples]
    for each in labels:
        each[:1] = IGNORED
    return Packed(
        ids=np.concatenate([each.ids for each in examples]),
        labels=np.concatenate(labels),
        positions=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        segments=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        lengths=lengths,
    )


class _Rooms:
    """The room left in every sequence, as a tree of maxima: the first that fits is found in log n steps."""

    def __init__(self, most: int, capacity: int) -> None:
        self._size = 1 << max(0, most - 1).bit_length()
        self._room = [capacity] * (2 * self._size)

    def take(self, length: int) -> int:
        """The first sequence with room, which then has less."""
        node = 1
        while node < self._size:
            node = 2 * node if self._room[2 * node] >= length else 2 * node + 1
        place = node - self._size
        self._room[node] -= length
        while node > 1:
            node //= 2
            self._room[node] = max(self._room[2 * node], self._room[2 * node + 1])
        return place
