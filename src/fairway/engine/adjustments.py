"""What changes a request's logits before a token is chosen: bias, minimum length, penalties.

One object per request, made at its first choice. The rule: a step costs the new tokens, never the
length of the context; the tokens seen so far are kept as arrays that grow.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from fairway.engine.request import Request
from fairway.tensors import F32


class TokenCounts:
    """Distinct tokens of prompt and answer, and how often the answer holds each."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._ids = np.empty(64, np.int64)
        self._counts = np.zeros(64, np.float32)

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        return self._ids[: len(self._places)]

    @property
    def counts(self) -> F32:
        """How often the answer holds each of `ids`."""
        return self._counts[: len(self._places)]

    def add(self, token_ids: array[int], *, count: int) -> None:
        for token_id in token_ids:
            place = self._place(token_id)  # first: it may exchange the array for a longer one
            self._counts[place] += count

    def _place(self, token_id: int) -> int:
        place = self._places.setdefault(token_id, len(self._places))
        if place == len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._ids[place] = token_id
        return place


class Adjustments:
    """In vLLM's order: minimum length, bias, repetition penalty, frequency and presence penalty."""

    def __init__(self, request: Request, vocab_size: int) -> None:
        params = request.sampling
        self._params = params
        self._bias_ids = np.array(list(params.logit_bias), np.int64)
        self._bias = np.array(list(params.logit_bias.values()), np.float32)
        ending_ids = params.stop_token_ids | params.end_of_text_ids
        self._ending_ids = np.array([i for i in ending_ids if 0 <= i < vocab_size], np.int64)
        self._counts = TokenCounts()
        self._num_counted = 0

    def apply(self, request: Request, row: F32) -> None:
        """Adjusts the logits of the next token."""
        if request.num_output < self._params.min_tokens:
            row[self._ending_ids] = -np.inf
        if self._bias_ids.size:
            row[self._bias_ids] += self._bias
        if self._params.has_penalties:
            self._count_new(request)
            self._penalise(row)

    def _count_new(self, request: Request) -> None:
        if self._num_counted == 0:
            self._counts.add(request.token_ids[: request.num_prompt], count=0)
            self._num_counted = request.num_prompt
        self._counts.add(request.token_ids[self._num_counted :], count=1)
        self._num_counted = request.num_tokens

    def _penalise(self, row: F32) -> None:
        params, ids, counts = self._params, self._counts.ids, self._counts.counts
        seen = row[ids]
        factor = np.float32(params.repetition_penalty)
        seen = np.where(seen > 0, seen / factor, seen * factor)
        seen -= np.float32(params.frequency_penalty) * counts
        seen -= np.float32(params.presence_penalty) * (counts > 0)
        row[ids] = seen
