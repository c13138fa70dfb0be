"""Chooses the next token of each request from its row of logits.

Order of operations, as vLLM documents it: log probabilities of the raw logits; minimum length and
bias; penalties; then greedy, or temperature, min-p, top-k, top-p and a draw. Who asks for no log
probabilities is served by the runner, where the logits lie. The rule: a choice depends on the
request's own row, tokens, parameters and seed, never on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fairway.engine.adjustments import Adjustments
from fairway.engine.events import TokenLogprob
from fairway.engine.request import Request
from fairway.kernels.sampling import Draw, choose_one
from fairway.kernels.sampling_math import log_sum_exp, most_likely, uniform
from fairway.tensors import F32

GREEDY = Draw(temperature=0.0)
NOT_FINITE = "The model's output is not a finite number; its weights or this prompt broke it."


class Sample(NamedTuple):
    """The choice for one request; `token_id` is None if there was none to make."""

    token_id: int | None = None
    logprob: float | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    error: str | None = None


class Chooser(Protocol):
    """The part of `Runner` that chooses from the last run's logits, as they lie there now."""

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]: ...


def is_plain(request: Request) -> bool:
    """Nothing but a choice is asked of the logits."""
    return request.sampling.logprobs is None


def sample(requests: Sequence[Request], rows: Sequence[int], logits: F32, chooser: Chooser) -> list[Sample]:
    """One choice for each request, from its own row of `logits`, which are those of the chooser's last run.

    A row is adjusted where it lies, since nobody else reads it.
    """
    plain = []
    for request, row in zip(requests, rows, strict=True):
        if is_plain(request):
            _adjust(request, logits[row])
            plain.append((row, draw_of(request)))
    ids = iter(chooser.choose([row for row, _ in plain], [how for _, how in plain]) if plain else ())
    return [
        _sample_of(next(ids)) if is_plain(request) else sample_one(request, logits[row])
        for request, row in zip(requests, rows, strict=True)
    ]


def draw_of(request: Request) -> Draw:
    """The request's next draw."""
    params = request.sampling
    if params.is_greedy:
        return GREEDY
    threshold = uniform(request.seed, request.num_output)
    return Draw(params.temperature, params.top_k or 0, params.top_p, params.min_p, threshold)


def _sample_of(token_id: int | None) -> Sample:
    return Sample(token_id) if token_id is not None else Sample(error=NOT_FINITE)


def sample_one(request: Request, row: F32) -> Sample:
    adjusted = row.copy() if request.sampling.adjusts_logits else row
    _adjust(request, adjusted)
    token_id = choose_one(adjusted, draw_of(request))
    if token_id is None or not np.isfinite(row.max()):
        return Sample(error=NOT_FINITE)
    params = request.sampling
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


def _adjust(request: Request, row: F32) -> None:
    if not request.sampling.adjusts_logits:
        return
    if request.adjustments is None:
        request.adjustments = Adjustments(request, row.size)
    request.adjustments.apply(request, row)


def _top(row: F32, norm: float, number: int) -> tuple[TokenLogprob, ...]:
    ids = most_likely(row, number).tolist() if number else []
    return tuple(TokenLogprob(i, float(row[i]) - norm) for i in ids)
