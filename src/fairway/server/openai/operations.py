"""The OpenAI dialect as a table of operations."""

from __future__ import annotations

from fairway.server.openai.answer_schema import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    ModelAnswer,
    ModelList,
)
from fairway.server.openai.chat import chat_completions
from fairway.server.openai.chat_schema import ChatRequest
from fairway.server.openai.completion_schema import CompletionRequest
from fairway.server.openai.completions import completions
from fairway.server.openai.lora import (
    LoadLoraRequest,
    UnloadLoraRequest,
    load_lora_adapter,
    unload_lora_adapter,
)
from fairway.server.openai.models import list_models, show_model
from fairway.server.openai.tokenize import (
    DetokenizeAnswer,
    DetokenizeRequest,
    TokenizeAnswer,
    TokenizeRequest,
    detokenize,
    tokenize,
)
from fairway.server.operation import Operation

# What can be wrong with any request that has a body.
BODY_ERRORS = (400, 404, 408, 413, 415)
# What an engine can answer beyond that: busy, or our own mistake.
ENGINE_ERRORS = (*BODY_ERRORS, 429, 500, 503)

OPERATIONS = (
    Operation(
        "POST",
        "/v1/chat/completions",
        "Chat",
        chat_completions,
        body=ChatRequest,
        answer=ChatCompletion,
        event=ChatCompletionChunk,
        errors=ENGINE_ERRORS,
    ),
    Operation(
        "POST",
        "/v1/completions",
        "Completions",
        completions,
        body=CompletionRequest,
        answer=Completion,
        event=Completion,
        errors=ENGINE_ERRORS,
    ),
    Operation("GET", "/v1/models", "Models", list_models, answer=ModelList),
    Operation("GET", "/v1/models/{model:path}", "Models", show_model, answer=ModelAnswer, errors=(404,)),
    Operation(
        "POST",
        "/v1/load_lora_adapter",
        "Models",
        load_lora_adapter,
        body=LoadLoraRequest,
        media_type="text/plain",
        errors=(*BODY_ERRORS, 403, 422, 501, 503),
    ),
    Operation(
        "POST",
        "/v1/unload_lora_adapter",
        "Models",
        unload_lora_adapter,
        body=UnloadLoraRequest,
        media_type="text/plain",
        errors=(*BODY_ERRORS, 403, 503),
    ),
    Operation(
        "POST",
        "/tokenize",
        "Tokens",
        tokenize,
        body=TokenizeRequest,
        answer=TokenizeAnswer,
        errors=BODY_ERRORS,
    ),
    Operation(
        "POST",
        "/detokenize",
        "Tokens",
        detokenize,
        body=DetokenizeRequest,
        answer=DetokenizeAnswer,
        errors=BODY_ERRORS,
    ),
)
