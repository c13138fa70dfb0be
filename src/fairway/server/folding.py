"""The complete answer is the stream folded together; this is the fold.

Both dialects' endpoints build their complete answers from `Folded`, which is made from the very
deltas that a streaming client would have got, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fairway.engine.events import FinishReason
from fairway.runtimes.protocol import Delta, Logprob, Usage

Deltas: TypeAlias = AsyncGenerator[tuple[int, Delta], None]
"""Deltas with the number of the prompt they belong to."""


@dataclass
class Folded:
    """One answer. `at` numbers the answers of a request: prompt after prompt, n for each."""

    at: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)
    prompt_logprobs: tuple[Logprob | None, ...] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None

    def add(self, delta: Delta) -> None:
        self.text += delta.text
        self.token_ids += delta.token_ids
        self.logprobs += delta.logprobs
        self.prompt_logprobs = self.prompt_logprobs or delta.prompt_logprobs
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.stop_reason = self.stop_reason if delta.stop_reason is None else delta.stop_reason


async def fold(deltas: Deltas, num_prompts: int, num_answers: int) -> tuple[list[Folded], Usage]:
    """All answers, in order, and the usage of the whole request."""
    answers = [Folded(at) for at in range(num_prompts * num_answers)]
    usage = Usage()
    async with aclosing(deltas):
        async for prompt, delta in deltas:
            answers[prompt * num_answers + delta.index].add(delta)
            usage = add_usage(usage, delta.usage)
    return answers, usage


def add_usage(one: Usage, other: Usage | None) -> Usage:
    if other is None:
        return one
    return replace(
        one,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
    )
