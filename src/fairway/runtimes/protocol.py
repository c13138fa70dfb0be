"""What a server or a terminal needs of anything that can answer.

Stream first: a generation is a sequence of deltas; the whole answer is their fold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fairway.engine.events import FinishReason
from fairway.engine.sampling_params import SamplingParams


@dataclass(frozen=True)
class ModelInfo:
    """What is being served, for `/v1/models`, plans and pages."""

    name: str
    path: str
    architecture: str
    num_parameters: int
    weight_type: str
    weight_bytes: int
    context: int
    vocab_size: int
    runtime: str
    created_s: int
    has_chat_template: bool = True


@dataclass(frozen=True)
class Logprob:
    """One token with its log probability, as text and exact bytes."""

    token_id: int
    text: str
    bytes: bytes
    logprob: float
    top: tuple[Logprob, ...] = ()


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt already in token ids, and everything that decides the answer.

    With `num_answers` n, answer i uses seed + i; deltas carry `index` i.
    """

    prompt_ids: Sequence[int]
    sampling: SamplingParams
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    num_answers: int = 1
    request_id: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens counted once, at the end, over all answers of a request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Delta:
    """A piece of answer `index`. Text is always whole characters, never part of a stop string.

    The last delta of an answer has `finish_reason`. The very last delta of the generation has
    `usage`. `prompt_logprobs` comes on an answer's first delta when it was asked for.
    """

    index: int = 0
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    """The stop string or stop token id that ended the answer, if one did."""
    usage: Usage | None = None
    prompt_logprobs: tuple[Logprob | None, ...] | None = None
    error: str | None = None


class Generation(Protocol):
    """An answer in the making. Iterate once, either way; leaving early aborts the request."""

    def __aiter__(self) -> AsyncIterator[Delta]: ...

    def __iter__(self) -> Iterator[Delta]: ...

    def cancel(self) -> None:
        """Frees everything within one step. Safe to call twice, from any thread."""
        ...


@dataclass(frozen=True)
class RuntimeStats:
    """A snapshot for `/metrics` and the page. Totals only grow."""

    num_running: int = 0
    num_waiting: int = 0
    kv_blocks_total: int = 0
    kv_blocks_used: int = 0
    """Held by running requests."""
    kv_blocks_cached: int = 0
    """Held by the prefix cache alone, free to be taken."""
    prompt_tokens_total: int = 0
    generated_tokens_total: int = 0
    cached_tokens_total: int = 0
    preemptions_total: int = 0
    requests_total: Mapping[str, int] = field(default_factory=dict)
    """Finished requests by finish reason."""


class TokenizerLike(Protocol):
    """`fairway.text.tokenizer.Tokenizer`, or the byte tokenizer."""

    vocab_size: int
    bos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True) -> list[int]: ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str: ...

    def token_bytes(self, token_id: int) -> bytes: ...

    def token_text(self, token_id: int) -> str: ...


class Runtime(Protocol):
    """Something that answers. Every method may be called from any thread."""

    info: ModelInfo
    tokenizer: TokenizerLike
    defaults: SamplingParams
    """The model authors' recommendations and its end-of-text ids."""

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,  # noqa: ANN401  template variables are the template author's
    ) -> list[int]:
        """The conversation rendered with the model's template, as ids (no double BOS)."""
        ...

    def generate(self, request: GenerationRequest) -> Generation:
        """Queues the request. Raises `ContextExceeded`, `RequestError` or `Busy` at once."""
        ...

    def stats(self) -> RuntimeStats: ...

    def close(self) -> None: ...
