"""What the engine says about a request, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class TokenLogprob:
    """Log probability of one token, natural logarithm."""

    token_id: int
    logprob: float


@dataclass(frozen=True)
class TokenEvent:
    """One new token, or the end, of one request.

    The last event has `finish_reason`; it may carry a token (the one that reached the limit, or a
    stop token, which `token_id` names but which is not part of the text) or none (abort, error).
    """

    request_id: str
    token_id: int | None = None
    logprob: float | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    stop_token: bool = False
    """token_id ended the answer (end of text or stop_token_ids) and must not be shown."""
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    """Prompt tokens found in the prefix cache."""
    prompt_logprobs: tuple[tuple[TokenLogprob, ...], ...] | None = None
    """On the first event only, when asked for: for each prompt token but the first, its own and the top n."""
    error: str | None = None
