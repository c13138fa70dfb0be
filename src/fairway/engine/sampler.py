"""Chooses the next token of each request from its row of logits.

Order of operations, as vLLM documents it: log probabilities of the raw logits; minimum length and
bias; penalties; then greedy, or temperature, min-p, top-k, top-p and a draw. The runner does what
reads a whole row, where the logits lie. The rule: a choice depends on the request's own row, tokens,
parameters and seed, never on the rest of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from fairway.engine.adjustments import Adjustments
from fairway.engine.events import TokenLogprob
from fairway.engine.request import Request
from fairway.kernels.sampling import Draw, Score
from fairway.kernels.sampling_math import uniform
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
    """The part of `Runner` that reads the last run's logits, as they lie there now."""

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]: ...

    def score(self, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]: ...


class Unadjusted(NamedTuple):
    """A row as the model wrote it, and what its log probabilities are made of."""

    row: F32
    score: Score


def sample(requests: Sequence[Request], rows: Sequence[int], logits: F32, chooser: Chooser) -> list[Sample]:
    """One choice for each request, from its own row of `logits`, which are those of the chooser's last run.

    A row is adjusted where it lies, since nobody else reads it.
    """
    unadjusted = _unadjusted(requests, rows, logits, chooser)
    for request, row in zip(requests, rows, strict=True):
        _adjust(request, logits[row])
    ids = chooser.choose(rows, [draw_of(request) for request in requests])
    return [_sample_of(token_id, unadjusted.get(row)) for row, token_id in zip(rows, ids, strict=True)]


def draw_of(request: Request) -> Draw:
    """The request's next draw."""
    params = request.sampling
    if params.is_greedy:
        return GREEDY
    threshold = uniform(request.seed, request.num_output)
    return Draw(params.temperature, params.top_k or 0, params.top_p, params.min_p, threshold)


def _unadjusted(
    requests: Sequence[Request], rows: Sequence[int], logits: F32, chooser: Chooser
) -> dict[int, Unadjusted]:
    """By row, of those whose log probabilities are wanted."""
    wanted = {
        row: request.sampling
        for request, row in zip(requests, rows, strict=True)
        if request.sampling.logprobs is not None
    }
    if not wanted:
        return {}
    scores = chooser.score(list(wanted), [params.logprobs or 0 for params in wanted.values()])
    return {
        row: Unadjusted(logits[row].copy() if params.adjusts_logits else logits[row], score)
        for (row, params), score in zip(wanted.items(), scores, strict=True)
    }


def _sample_of(token_id: int | None, unadjusted: Unadjusted | None) -> Sample:
    if token_id is None or (unadjusted and math.isnan(unadjusted.score.log_sum_exp)):
        return Sample(error=NOT_FINITE)
    if unadjusted is None:
        return Sample(token_id)
    row, score = unadjusted
    return Sample(token_id, float(row[token_id]) - score.log_sum_exp, tuple(_top(score)))


def score_prompt(request: Request, rows: Sequence[int], logits: F32, chooser: Chooser) -> None:
    """Adds the log probabilities of the next prompt tokens: each row speaks of the token after its own."""
    rows = rows[: request.num_prompt - 1 - len(request.prompt_logprobs)]
    number = request.sampling.prompt_logprobs or 0
    for row, score in zip(rows, chooser.score(rows, [number] * len(rows)), strict=True):
        token_id = request.token_ids[len(request.prompt_logprobs) + 1]
        own = TokenLogprob(token_id, float(logits[row, token_id]) - score.log_sum_exp)
        request.prompt_logprobs.append((own, *_top(score)))


def _top(score: Score) -> Iterator[TokenLogprob]:
    return (TokenLogprob(token_id, logit - score.log_sum_exp) for token_id, logit in score.top)


def _adjust(request: Request, row: F32) -> None:
    if not request.sampling.adjusts_logits:
        return
    if request.adjustments is None:
        request.adjustments = Adjustments(request, row.size)
    request.adjustments.apply(request, row)
