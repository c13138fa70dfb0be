"""/tokenize and /detokenize, in vLLM's shapes: what a text or a conversation is in token ids, and back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from fairway.errors import RequestError
from fairway.runtimes.protocol import Runtime
from fairway.server.answering import on_helper_thread
from fairway.server.json_response import JsonResponse
from fairway.server.openai.field_policy import check_unknown_fields
from fairway.server.openai.messages import GivenTool, Message
from fairway.server.openai.prompts import Conversation, conversation_ids
from fairway.server.openai.request_fields import TokenId
from fairway.server.services import Services


class TokenizeRequest(BaseModel):
    """Either a text or a conversation."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(None, min_length=1)
    tools: list[GivenTool] | None = None
    add_special_tokens: bool | None = Field(None, description="For a text; default true.")
    add_generation_prompt: bool | None = Field(None, description="For a conversation; default true.")
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool | None = None


class TokenizeAnswer(BaseModel):
    """The ids, and how many more would fit."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(BaseModel):
    """Token ids."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str | None = None
    tokens: list[TokenId]


class DetokenizeAnswer(BaseModel):
    """Their text."""

    prompt: str


async def tokenize(services: Services, request: Request, body: TokenizeRequest) -> Response:  # noqa: ARG001
    """Text or conversation to token ids."""
    check_unknown_fields(body)
    _, runtime = services.models.find(body.model)
    ids = await _ids(runtime, body)
    texts = [runtime.tokenizer.token_text(each) for each in ids] if body.return_token_strs else None
    return JsonResponse(
        {"count": len(ids), "max_model_len": runtime.info.context, "tokens": ids, "token_strs": texts}
    )


async def _ids(runtime: Runtime, body: TokenizeRequest) -> list[int]:
    if (body.prompt is None) == (body.messages is None):
        raise RequestError("Send either prompt or messages.", param="prompt")
    if body.messages is None:
        special = body.add_special_tokens is not False
        return await on_helper_thread(runtime.tokenizer.encode, body.prompt or "", add_special_tokens=special)
    if body.add_special_tokens:
        raise RequestError(
            "add_special_tokens is for prompt; a chat template writes its own.", param="add_special_tokens"
        )
    conversation = Conversation(
        messages=body.messages,
        tools=body.tools or (),
        variables=body.chat_template_kwargs or {},
        add_generation_prompt=body.add_generation_prompt,
    )
    return await conversation_ids(runtime, conversation)


async def detokenize(services: Services, request: Request, body: DetokenizeRequest) -> Response:  # noqa: ARG001
    """Token ids to text."""
    check_unknown_fields(body)
    _, runtime = services.models.find(body.model)
    size = runtime.info.vocab_size
    unknown = next((each for each in body.tokens if each >= size), None)
    if unknown is not None:
        raise RequestError(
            f"tokens names token {unknown}; the model's tokens are 0 to {size - 1}.", param="tokens"
        )
    text = await on_helper_thread(runtime.tokenizer.decode, body.tokens, skip_special_tokens=False)
    return JsonResponse({"prompt": text})
