"""What the OpenAI endpoints answer, for the OpenAPI document. Tests hold real answers against it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class PromptTokensDetails(BaseModel):
    """Part of the prompt tokens."""

    cached_tokens: int = Field(description="Found in the prefix cache.")


class UsageAnswer(BaseModel):
    """Tokens of the whole request, over all its answers."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(BaseModel):
    """One of the likeliest tokens at a position."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprobAnswer(TopLogprob):
    """The token at a position, and the likeliest ones there."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """One entry per token of the answer."""

    content: list[TokenLogprobAnswer] | None
    refusal: None = None


class PromptLogprob(BaseModel):
    """vLLM's entry for one prompt token; `rank` is null when it is not among the likeliest."""

    logprob: float
    rank: int | None
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None] | None
FinishReason = Literal["stop", "length"]


class AnswerMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    stop_reason: str | int | None = Field(description="The stop text or token id that ended it.")


class ChatCompletion(BaseModel):
    """A complete answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageAnswer
    system_fingerprint: str
    prompt_logprobs: PromptLogprobs = None


class ChatDelta(BaseModel):
    """The first has the role, the others a piece of text."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(BaseModel):
    """A piece of one answer."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None = None


class ChatCompletionChunk(BaseModel):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: UsageAnswer | None = None
    system_fingerprint: str


class CompletionLogprobs(BaseModel):
    """OpenAI's older shape: parallel lists, one entry per token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One continued text, or a piece of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None = None
    prompt_logprobs: PromptLogprobs = None


class Completion(BaseModel):
    """A complete answer, or one event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageAnswer | None = None
    system_fingerprint: str


class ModelAnswer(BaseModel):
    """A model and what is known about it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int = Field(description="Longest prompt and answer together, in tokens.")
    architecture: str
    num_parameters: int
    weight_type: str
    weight_bytes: int
    vocab_size: int
    runtime: str
    has_chat_template: bool
    parent: str | None = Field(description="Of an adapter: the model that it changes.")
    lora_rank: int | None = Field(description="Of a LoRA adapter: its largest rank.")
    virtual_tokens: int | None = Field(
        description="Of a prefix: the positions that it takes before every prompt, of no prompt's tokens."
    )


class ModelList(BaseModel):
    """Every model that is served."""

    object: Literal["list"]
    data: list[ModelAnswer]


class ErrorDetail(BaseModel):
    """What went wrong, in one sentence, and the field that caused it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every error has this shape."""

    error: ErrorDetail


class Health(BaseModel):
    """Whether requests are being accepted."""

    status: Literal["ready"]
