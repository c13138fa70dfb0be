"""Arithmetic on one row of logits: the most likely, their probabilities, a choice.

Knows arrays, no requests. The rule: nothing here depends on any other row, and equal logits are
ordered by token id, lowest first.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.tensors import F32

F64: TypeAlias = npt.NDArray[np.float64]
Ids: TypeAlias = npt.NDArray[np.intp]

_GROUP = 64
_MASK = (1 << 64) - 1
_LOWEST_EXPONENT = np.float32(-87.33)


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on seed and output position only.

    The output function of SplitMix64 (Steele, Lea, Flood 2014) on a counter, twice, so that
    neighbouring seeds share nothing.
    """
    bits = _mix(_mix(seed & _MASK) + position)
    return (bits >> 11) * 2.0**-53


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def log_sum_exp(row: F32) -> float:
    """Natural logarithm of the sum of exp(row), in float64: what log_softmax subtracts."""
    highest = float(row.max())
    if not math.isfinite(highest):
        return math.nan
    shifted = row.astype(np.float64)
    shifted -= highest
    np.exp(shifted, out=shifted)
    return highest + math.log(float(shifted.sum()))


def relative_weights(row: F32, temperature: float) -> F32:
    """Probabilities at `temperature`, as multiples of the most likely token's.

    Exactly 0 below float32's normal numbers, as the native kernels' exponential is.
    """
    weights: F32 = row - row.max()
    weights *= np.float32(1 / temperature)
    weights[weights < _LOWEST_EXPONENT] = -np.inf
    np.exp(weights, out=weights)
    return weights


def most_likely(row: F32, number: int) -> Ids:
    """Ids of the `number` highest logits, highest first, the lower id first among equals."""
    if number >= row.size:
        return np.argsort(-row, kind="stable")
    candidates = np.flatnonzero(row >= _lower_bound(row, number))
    order = np.argsort(-row[candidates], kind="stable")
    return candidates[order[:number]]


def _lower_bound(row: F32, number: int) -> np.float32:
    """A value that at least `number` logits reach; few more do.

    The number-th highest of the highest of each group: cheaper than partitioning the whole row.
    """
    num_groups = row.size // _GROUP
    if num_groups < 2 * number:
        return np.float32(np.partition(row, row.size - number)[row.size - number])
    highest = row[: num_groups * _GROUP].reshape(_GROUP, num_groups).max(axis=0)
    return np.float32(np.partition(highest, num_groups - number)[num_groups - number])


def choose_weight(weights: F64, threshold: float) -> int:
    """Index of the first weight at which the running sum exceeds `threshold` of the whole sum."""
    sums = np.cumsum(weights)
    index = int(np.searchsorted(sums, threshold * sums[-1], side="right"))
    return index if index < sums.size else int(np.flatnonzero(weights)[-1])


def choose_from_all(row: F32, temperature: float, threshold: float) -> int:
    """A token of the whole vocabulary, by its probability.

    First a group (ids that are equal modulo the number of groups), then a token in it: two short
    running sums instead of one over the whole vocabulary.
    """
    weights = relative_weights(row, temperature)
    num_groups = -(-weights.size // _GROUP)
    whole = weights.size // num_groups * num_groups
    groups = weights[:whole].reshape(-1, num_groups).sum(axis=0, dtype=np.float64)
    groups[: weights.size - whole] += weights[whole:]
    group = choose_weight(groups, threshold)
    target = (threshold * groups.sum() - groups[:group].sum()) / groups[group]
    inside = weights[group::num_groups].astype(np.float64)
    return group + num_groups * choose_weight(inside, min(1.0, max(0.0, float(target))))


def top_p_candidates(row: F32, temperature: float, top_p: float) -> tuple[Ids, float]:
    """Most likely ids, in order, that hold at least `top_p` of all probability, and the sum of all.

    The sum is in multiples of the first id's probability.
    """
    weights = relative_weights(row, temperature)
    total = float(weights.sum(dtype=np.float64))
    number = 64
    while True:
        ids = most_likely(row, number)
        if number >= row.size or weights[ids].sum(dtype=np.float64) >= top_p * total:
            return ids, total
        number *= 8
