"""The best that can be had at every size: one type for each group, so that nothing smaller is as good.

Knows bytes and divergences, no model. Divergences of groups add up, as they do where each is small. The rule:
bytes are exact sums, never estimates, so what fits by the front fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

F64: TypeAlias = npt.NDArray[np.float64]
I64: TypeAlias = npt.NDArray[np.int64]

MOST_POINTS = 4096
"""Kept of a front while it grows: neighbours are then a few hundredths of a percent apart."""


@dataclass(frozen=True)
class Option:
    """One type that a group may have."""

    type: str
    num_bytes: int
    divergence: float
    """What it adds, in nats per token."""


@dataclass(frozen=True)
class Front:
    """Sizes rise and divergences fall from point to point."""

    num_bytes: I64
    divergences: F64
    choices: tuple[tuple[str, ...], ...]
    """Of every point, a type for each group."""

    def __len__(self) -> int:
        return len(self.num_bytes)

    def within(self, num_bytes: int) -> int | None:
        """The last point that is no larger; None where all are."""
        found = int(np.searchsorted(self.num_bytes, num_bytes, side="right")) - 1
        return found if found >= 0 else None

    def reaching(self, divergence: float) -> int:
        """The first point that is no worse; the last where all are."""
        found = int(np.searchsorted(-self.divergences, -divergence, side="left"))
        return min(found, len(self) - 1)


@dataclass(frozen=True)
class _Stage:
    """A front and how each of its points grew: from which before it, by which option."""

    num_bytes: I64
    divergences: F64
    parents: I64
    taken: I64


def front_of(groups: Sequence[Sequence[Option]], fixed_bytes: int = 0) -> Front:
    """Of all ways to choose one option from each group. `fixed_bytes` come with any of them."""
    nothing = np.zeros(1, np.int64)
    stages = [_Stage(np.array([fixed_bytes]), np.zeros(1), nothing, nothing)]
    for options in groups:
        stages.append(_grown(stages[-1], options))
    last = stages[-1]
    places, columns = np.arange(len(last.num_bytes)), []
    for stage, options in zip(stages[:0:-1], groups[::-1], strict=True):
        columns.append([options[index].type for index in stage.taken[places]])
        places = stage.parents[places]
    choices = tuple(zip(*columns[::-1], strict=True)) if columns else ((),)
    return Front(last.num_bytes, last.divergences, choices)


def _grown(before: _Stage, options: Sequence[Option]) -> _Stage:
    count = len(before.num_bytes)
    sizes = np.concatenate([before.num_bytes + option.num_bytes for option in options])
    divergences = np.concatenate([before.divergences + option.divergence for option in options])
    order = np.lexsort((divergences, sizes))
    best = np.minimum.accumulate(divergences[order])
    kept = order[np.concatenate([[True], divergences[order][1:] < best[:-1]])]
    kept = kept[_spread(sizes[kept])]
    return _Stage(sizes[kept], divergences[kept], kept % count, kept // count)


def _spread(sizes: I64) -> I64:
    """All places, or `MOST_POINTS` of them evenly by size, both ends among them."""
    if len(sizes) <= MOST_POINTS:
        return np.arange(len(sizes))
    marks = np.linspace(sizes[0], sizes[-1], MOST_POINTS)
    return np.unique(np.searchsorted(sizes, marks, side="right") - 1)
