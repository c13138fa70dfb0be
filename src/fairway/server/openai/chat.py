"""/v1/chat/completions: a conversation in, an answer out, streamed or whole.

Template and tokenizer run on a helper thread, the engine on its own; this file only turns shapes
into shapes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fairway.runtimes.protocol import Delta, GenerationRequest, Runtime, Usage
from fairway.server.answering import Ask, answer_whole, begin, event_stream
from fairway.server.folding import Folded, add_usage
from fairway.server.json_response import JsonResponse
from fairway.server.openai.chat_schema import ChatRequest
from fairway.server.openai.envelope import Envelope, envelope, usage_answer
from fairway.server.openai.field_policy import check_unknown_fields
from fairway.server.openai.logprobs import chat_logprobs, prompt_logprobs
from fairway.server.openai.prompts import Conversation, conversation_ids
from fairway.server.openai.sampling import check_limits, sampling_params
from fairway.server.running import Running
from fairway.server.services import Services


async def chat_completions(services: Services, request: Request, body: ChatRequest) -> Response:
    """Continues a conversation."""
    check_unknown_fields(body)
    body.check()
    check_limits(
        body, services.settings, top_logprobs=body.top_logprobs, prompt_logprobs=body.prompt_logprobs
    )
    name, runtime = services.models.find(body.model)
    prompt_ids = await conversation_ids(runtime, _conversation(body))
    ask = Ask(name, runtime, [_generation(body, runtime, prompt_ids)], param="messages")
    running = begin(services, request, ask)
    if body.stream:
        cover = envelope("chatcmpl", "chat.completion.chunk", name, runtime.info)
        return event_stream(services, running, _chunks(running, body, cover))
    cover = envelope("chatcmpl", "chat.completion", name, runtime.info)
    return JsonResponse(_complete(body, cover, *await answer_whole(request, running, ask)))


def _conversation(body: ChatRequest) -> Conversation:
    variables = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        variables.setdefault("reasoning_effort", body.reasoning_effort)
    return Conversation(
        messages=body.messages,
        tools=() if body.tool_choice == "none" else body.tools or (),
        variables=variables,
        add_generation_prompt=body.add_generation_prompt,
    )


def _generation(body: ChatRequest, runtime: Runtime, prompt_ids: list[int]) -> GenerationRequest:
    sampling = sampling_params(
        body,
        runtime,
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        prompt_logprobs=body.prompt_logprobs,
    )
    return GenerationRequest(
        prompt_ids=prompt_ids,
        sampling=sampling,
        stop=body.stops,
        include_stop=bool(body.include_stop_str_in_output),
        num_answers=body.n or 1,
    )


async def _chunks(
    running: Running, body: ChatRequest, cover: Envelope
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """The events of a stream: the role of each answer, its pieces, and the usage at the end."""
    more: dict[str, Any] = {"usage": None} if body.wants_usage else {}
    opening = {"role": "assistant", "content": ""}
    yield [cover.around([_chunk_choice(index, opening)], **more) for index in range(body.n or 1)]
    usage = Usage()
    async for _, delta in running.deltas():
        usage = add_usage(usage, delta.usage)
        if delta.text or delta.logprobs or delta.finish_reason:
            yield [cover.around([_piece(delta)], **more)]
    if body.wants_usage:
        yield [cover.around([], usage=usage_answer(usage))]


def _piece(delta: Delta) -> dict[str, Any]:
    choice = _chunk_choice(delta.index, {"content": delta.text} if delta.text or delta.logprobs else {})
    if delta.logprobs:
        choice["logprobs"] = chat_logprobs(delta.logprobs)
    if delta.finish_reason:
        choice |= {"finish_reason": delta.finish_reason, "stop_reason": delta.stop_reason}
    return choice


def _chunk_choice(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _complete(body: ChatRequest, cover: Envelope, answers: list[Folded], usage: Usage) -> dict[str, Any]:
    choices = [
        {
            "index": answer.at,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": chat_logprobs(answer.logprobs) if body.logprobs else None,
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
        }
        for answer in answers
    ]
    more: dict[str, Any] = {}
    if body.prompt_logprobs is not None:
        more["prompt_logprobs"] = prompt_logprobs(answers[0].prompt_logprobs)
    return cover.around(choices, usage=usage_answer(usage), **more)
