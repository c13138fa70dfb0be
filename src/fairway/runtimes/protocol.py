"""What a server or a terminal needs of anything that can answer.

Stream first: a generation is a sequence of deltas; the whole answer is their fold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fairway.engine.events import FinishReason
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.stats import EngineStats
from fairway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from fairway.runtimes.adapters import AdapterTable


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
    adapter: str = ""
    """Name of one that the runtime has loaded; none if empty."""


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


RuntimeStats: TypeAlias = EngineStats
"""A snapshot for `/metrics` and the page: every runtime counts as our own engine does."""


class Runtime(Protocol):
    """Something that answers. Every method may be called from any thread."""

    info: ModelInfo
    tokenizer: Tokenizer
    defaults: SamplingParams
    """The model authors' recommendations and its end-of-text ids."""

    @property
    def adapters(self) -> AdapterTable | None:
        """Those that requests may name; None: this runtime takes none."""
        ...

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
