"""Chooses the next token of each request from its row of logits: the meaning, in NumPy.

Order of operations, as vLLM documents it: log probabilities of the raw logits; minimum length and
bias; penalties; then greedy, or temperature, min-p, top-k, top-p and a draw. The rule: a choice
depends on the request's own row, tokens, parameters and seed, never on the rest of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fairway.engine.adjustments import Adjustments
from fairway.engine.events import TokenLogprob
from fairway.engine.request import Request
from fairway.engine.sampling_math import (
    F64,
    Ids,
    choose,
    choose_from_all,
    log_sum_exp,
    most_likely,
    top_p_candidates,
    uniform,
)
from fairway.engine.sampling_params import SamplingParams
from fairway.tensors import F32

NOT_FINITE = "The model's output is not a finite number; its weights or this prompt broke it."


class Sample(NamedTuple):
    """The choice for one request; `token_id` is None if there was none to make."""

    token_id: int | None = None
    logprob: float | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    error: str | None = None


def is_plain(request: Request) -> bool:
    """Nothing is asked but the highest logit."""
    params = request.sampling
    return params.is_greedy and params.logprobs is None and not params.adjusts_logits


def sample(requests: Sequence[Request], logits: F32) -> list[Sample]:
    """One choice for each request from its row of `logits` [len(requests), vocabulary]."""
    if all(map(is_plain, requests)):
        return _argmax(logits)
    return [sample_one(request, row) for request, row in zip(requests, logits, strict=True)]


def _argmax(logits: F32) -> list[Sample]:
    ids = logits.argmax(axis=1)
    finite = np.isfinite(logits[np.arange(len(ids)), ids]).tolist()
    return [Sample(i) if ok else Sample(error=NOT_FINITE) for i, ok in zip(ids.tolist(), finite, strict=True)]


def sample_one(request: Request, row: F32) -> Sample:
    adjusted = _adjusted(request, row)
    best = int(adjusted.argmax())
    if not np.isfinite(adjusted[best]) or not np.isfinite(row.max()):
        return Sample(error=NOT_FINITE)
    params = request.sampling
    token_id = best if params.is_greedy else draw(adjusted, params, uniform(request.seed, request.num_output))
    if params.logprobs is None:
        return Sample(token_id)
    norm = log_sum_exp(row)
    return Sample(token_id, float(row[token_id]) - norm, _top(row, norm, params.logprobs))


def score_prompt(request: Request, rows: F32) -> None:
    """Adds the log probabilities of the next prompt tokens: row i speaks of the token after its own."""
    number = request.sampling.prompt_logprobs or 0
    for row in rows[: request.num_prompt - 1 - len(request.prompt_logprobs)]:
        token_id = request.token_ids[len(request.prompt_logprobs) + 1]
        norm = log_sum_exp(row)
        own = TokenLogprob(token_id, float(row[token_id]) - norm)
        request.prompt_logprobs.append((own, *_top(row, norm, number)))


def _adjusted(request: Request, row: F32) -> F32:
    if not request.sampling.adjusts_logits:
        return row
    if request.adjustments is None:
        request.adjustments = Adjustments(request, row.size)
    return request.adjustments.apply(request, row)


def _top(row: F32, norm: float, number: int) -> tuple[TokenLogprob, ...]:
    ids = most_likely(row, number).tolist() if number else []
    return tuple(TokenLogprob(i, float(row[i]) - norm) for i in ids)


def draw(row: F32, params: SamplingParams, threshold: float) -> int:
    """A token by its probability after temperature, min-p, top-k and top-p; `threshold` in [0, 1)."""
    if params.top_k is not None and params.top_k < row.size:
        ids = most_likely(row, params.top_k)
    elif params.min_p > 0:
        ids = _reaching(row, params)
    elif params.top_p < 1:
        ids, total = top_p_candidates(row, params.temperature, params.top_p)
        return int(ids[choose(_top_p(_weights(row, ids, params), params, total), threshold)])
    else:
        return choose_from_all(row, params.temperature, threshold)
    weights = _weights(row, ids, params)
    weights = weights[weights >= params.min_p]
    return int(ids[choose(_top_p(weights, params, float(weights.sum())), threshold)])


def _weights(row: F32, ids: Ids, params: SamplingParams) -> F64:
    """Probabilities of `ids`, most likely first, as multiples of the first one's."""
    return np.exp((row[ids].astype(np.float64) - float(row[ids[0]])) / params.temperature)


def _reaching(row: F32, params: SamplingParams) -> Ids:
    """Ids that min-p may leave: a little more generous than min-p, which float64 weights then decide."""
    lowest = float(row.max()) + params.temperature * math.log(params.min_p) - 1e-3
    return most_likely(row, int(np.count_nonzero(row >= lowest)))


def _top_p(weights: F64, params: SamplingParams, total: float) -> F64:
    """The fewest first weights that reach `top_p` of `total`; at least one."""
    if params.top_p >= 1:
        return weights
    before = np.cumsum(weights) - weights
    return weights[before < params.top_p * total]
