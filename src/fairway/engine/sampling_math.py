"""Arithmetic on one row of logits: the most likely, their probabilities, a choice.

Knows arrays, no requests. The rule: nothing here depends on any other row, and equal logits are
ordered by token id, lowest first.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.tensors import F32

F64: TypeAlias = npt.NDArray[np.float64]
Ids: TypeAlias = npt.NDArray[np.intp]

_GROUP = 64
_MASK = (1 << 64) - 1


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


def log_softmax(row: F32) -> F64:
    """Natural log probabilities of all tokens, in float64."""
    shifted = row.astype(np.float64)
    with np.errstate(invalid="ignore"):  # an infinite logit makes NaN, which is what it means
        shifted -= shifted.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


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
    size = row.size // _GROUP * _GROUP
    if size // _GROUP < 2 * number:
        return np.float32(np.partition(row, row.size - number)[row.size - number])
    highest = row[:size].reshape(-1, _GROUP).max(axis=1)
    return np.float32(np.partition(highest, highest.size - number)[highest.size - number])


def choose(weights: F64, threshold: float) -> int:
    """Index of the first weight at which the running sum exceeds `threshold` of the whole sum."""
    sums = np.cumsum(weights)
    index = int(np.searchsorted(sums, threshold * sums[-1], side="right"))
    return min(index, int(np.flatnonzero(weights)[-1]))


def choose_from_all(row: F32, temperature: float, threshold: float) -> int:
    """A token of the whole vocabulary, by its probability; in two strides to spare the long sum."""
    weights = np.exp((row.astype(np.float64) - float(row.max())) / temperature)
    size = weights.size // _GROUP * _GROUP
    if size == 0:
        return choose(weights, threshold)
    groups = np.append(weights[:size].reshape(-1, _GROUP).sum(axis=1), weights[size:].sum())
    sums = np.cumsum(groups)
    target = threshold * sums[-1]
    group = min(int(np.searchsorted(sums, target, side="right")), int(np.flatnonzero(groups)[-1]))
    before = sums[group - 1] if group else 0.0
    inside = weights[group * _GROUP : (group + 1) * _GROUP]
    return group * _GROUP + choose(inside, min(1.0, max(0.0, (target - before) / groups[group])))


def top_p_candidates(row: F32, temperature: float, top_p: float) -> tuple[Ids, float]:
    """Most likely ids, in order, that hold at least `top_p` of all probability, and the sum of all.

    The sum is in multiples of the first id's probability.
    """
    weights = np.exp((row.astype(np.float64) - float(row.max())) / temperature)
    total = float(weights.sum())
    number = 64
    while True:
        ids = most_likely(row, number)
        if number >= row.size or weights[ids].sum() >= top_p * total:
            return ids, total
        number *= 8
