"""Choosing a token from a row of logits: the meaning, in NumPy, that the native chooser is tested against.

The rule: a choice depends on the row and the draw alone; candidates are ordered by logit, highest
first, and of equal ones by token id, lowest first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fairway.kernels.sampling_math import (
    F64,
    Ids,
    choose_from_all,
    choose_weight,
    log_sum_exp,
    most_likely,
    top_p_candidates,
)
from fairway.tensors import F32


class Draw(NamedTuple):
    """How one token is chosen: temperature, then top-k, min-p, top-p, then a draw."""

    temperature: float = 1.0
    """0: the highest logit, and the rest is ignored."""
    top_k: int = 0
    """0: all."""
    top_p: float = 1.0
    min_p: float = 0.0
    uniform: float = 0.0
    """In [0, 1): which of the tokens that are left, in their order, by their probability."""


class Score(NamedTuple):
    """What log probabilities are made of: a token's is its logit minus `log_sum_exp`."""

    log_sum_exp: float
    """Natural logarithm of the sum of exp(logit) over the row; not a number where the row is none."""
    top: list[tuple[int, float]]
    """Ids and logits of the most likely tokens, most likely first."""


def score(logits: F32, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]:
    """Of each row what makes log probabilities, and so many of its most likely tokens."""
    return [score_one(logits[row], number) for row, number in zip(rows, numbers, strict=True)]


def score_one(row: F32, number: int) -> Score:
    ids = most_likely(row, number) if number else np.zeros(0, np.intp)
    return Score(log_sum_exp(row), list(zip(ids.tolist(), row[ids].tolist(), strict=True)))


def choose(logits: F32, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]:
    """A token from each row; None where a logit is not a number, or the highest is not finite."""
    return [choose_one(logits[row], how) for row, how in zip(rows, draws, strict=True)]


def choose_one(row: F32, how: Draw) -> int | None:
    best = int(row.argmax())
    if not np.isfinite(row[best]):
        return None
    return draw(row, how) if how.temperature > 0 else best


def draw(row: F32, how: Draw) -> int:
    """A token by its probability; the temperature is above 0 and the row has a finite highest value."""
    if 0 < how.top_k < row.size:
        ids = most_likely(row, how.top_k)
    elif how.min_p > 0:
        ids = _reaching(row, how)
    elif how.top_p < 1:
        ids, total = top_p_candidates(row, how.temperature, how.top_p)
        return int(ids[choose_weight(_top_p(_weights(row, ids, how), how, total), how.uniform)])
    else:
        return choose_from_all(row, how.temperature, how.uniform)
    weights = _weights(row, ids, how)
    weights = weights[weights >= how.min_p]
    return int(ids[choose_weight(_top_p(weights, how, float(weights.sum())), how.uniform)])


def _weights(row: F32, ids: Ids, how: Draw) -> F64:
    """Probabilities of `ids`, most likely first, as multiples of the first one's."""
    return np.exp((row[ids].astype(np.float64) - float(row[ids[0]])) / how.temperature)


def _reaching(row: F32, how: Draw) -> Ids:
    """Ids that min-p may leave: a little more generous than min-p, which float64 weights then decide."""
    lowest = float(row.max()) + how.temperature * math.log(how.min_p) - 1e-3
    return most_likely(row, int(np.count_nonzero(row >= lowest)))


def _top_p(weights: F64, how: Draw, total: float) -> F64:
    """The fewest first weights that reach `top_p` of `total`; at least one."""
    if how.top_p >= 1:
        return weights
    before = np.cumsum(weights) - weights
    return weights[before < how.top_p * total]
