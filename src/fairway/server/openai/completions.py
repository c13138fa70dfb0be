"""/v1/completions: texts to continue, by OpenAI's older endpoint, which evaluation harnesses use.

One request may hold many prompts and ask for n answers to each; choice numbers go prompt by prompt.
A complete choice is made by the same code as a piece of a stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fairway.runtimes.protocol import Delta, GenerationRequest, Runtime, Usage
from fairway.server.answering import Ask, answer_whole, begin, event_stream, on_helper_thread
from fairway.server.folding import Deltas, Folded, add_usage
from fairway.server.json_response import JsonResponse
from fairway.server.openai.completion_schema import DEFAULT_MAX_TOKENS, CompletionRequest
from fairway.server.openai.envelope import Envelope, envelope, usage_answer
from fairway.server.openai.field_policy import check_unknown_fields
from fairway.server.openai.logprobs import CompletionLogprobs, prompt_logprobs
from fairway.server.openai.sampling import check_limits, sampling_params
from fairway.server.services import Services


async def completions(services: Services, request: Request, body: CompletionRequest) -> Response:
    """Continues texts."""
    settings = services.settings
    check_unknown_fields(body)
    body.check(settings.max_prompts)
    check_limits(body, settings, logprobs=body.logprobs, prompt_logprobs=body.prompt_logprobs)
    name, runtime = services.models.find(body.model)
    prompt_ids = await on_helper_thread(_encode_all, runtime, body.prompts)
    ask = Ask(name, runtime, _generations(body, runtime, prompt_ids), param="prompt")
    writers = _writers(body, runtime, prompt_ids)
    cover = envelope("cmpl", "text_completion", name, runtime.info)
    running = begin(services, request, ask)
    if body.stream:
        return event_stream(services, running, _chunks(running.deltas(), writers, body, cover))
    answers, usage = await answer_whole(request, running, ask)
    choices = [_complete(answer, writer) for answer, writer in zip(answers, writers, strict=True)]
    return JsonResponse(cover.around(choices, usage=usage_answer(usage)))


def _encode_all(runtime: Runtime, prompts: list[str | list[int]]) -> list[list[int]]:
    encode = runtime.tokenizer.encode
    return [encode(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]


def _generations(
    body: CompletionRequest, runtime: Runtime, prompt_ids: list[list[int]]
) -> list[GenerationRequest]:
    wanted = [
        each for each in (body.prompt_logprobs, body.logprobs if body.echo else None) if each is not None
    ]
    sampling = sampling_params(
        body,
        runtime,
        max_tokens=DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        logprobs=body.logprobs,
        prompt_logprobs=max(wanted) if wanted else None,
    )
    return [
        GenerationRequest(
            prompt_ids=ids,
            sampling=sampling,
            stop=body.stops,
            include_stop=bool(body.include_stop_str_in_output),
            num_answers=body.n or 1,
        )
        for ids in prompt_ids
    ]


class _Writer:
    """Writes one choice, piece by piece: the prompt first if it is echoed, then the answer."""

    def __init__(
        self, at: int, body: CompletionRequest, runtime: Runtime, prompt: str | list[int], ids: list[int]
    ) -> None:
        self._at = at
        self._prompt = prompt
        self._ids = ids
        self._tokenizer = runtime.tokenizer
        self._echo = bool(body.echo)
        self._logprobs = None if body.logprobs is None else CompletionLogprobs(body.logprobs)
        self._prompt_logprobs = body.prompt_logprobs

    def piece(self, delta: Delta) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": self._at, "text": delta.text}
        choice["logprobs"] = None if self._logprobs is None else self._logprobs.piece(delta.logprobs)
        choice["finish_reason"] = delta.finish_reason
        if delta.finish_reason is not None:
            choice["stop_reason"] = delta.stop_reason
        return choice

    def echo(self, delta: Delta) -> dict[str, Any] | None:
        """The prompt as a piece of its own, once."""
        if not self._echo:
            return None
        self._echo = False
        text = self._prompt if isinstance(self._prompt, str) else self._decoded()
        choice: dict[str, Any] = {"index": self._at, "text": text, "logprobs": None, "finish_reason": None}
        if self._logprobs is not None:
            known = delta.prompt_logprobs or (None,) * len(self._ids)
            choice["logprobs"] = self._logprobs.prompt(self._ids, known, self._tokenizer)
        return choice

    def whole(self, delta: Delta) -> dict[str, Any]:
        """The complete choice: the echo, if any, and the piece that is everything."""
        echoed = self.echo(delta)
        choice = self.piece(delta)
        if echoed is not None:
            choice["text"] = echoed["text"] + choice["text"]
            choice["logprobs"] = _joined(echoed["logprobs"], choice["logprobs"])
        if self._prompt_logprobs is not None:
            choice["prompt_logprobs"] = prompt_logprobs(delta.prompt_logprobs)
        return choice

    def _decoded(self) -> str:
        return self._tokenizer.decode(self._ids, skip_special_tokens=False)


def _writers(body: CompletionRequest, runtime: Runtime, prompt_ids: list[list[int]]) -> list[_Writer]:
    num_answers = body.n or 1
    prompts = [
        (prompt, ids)
        for prompt, ids in zip(body.prompts, prompt_ids, strict=True)
        for _ in range(num_answers)
    ]
    return [_Writer(at, body, runtime, prompt, ids) for at, (prompt, ids) in enumerate(prompts)]


def _joined(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    if one is None or other is None:
        return None
    return {key: None if one[key] is None else one[key] + other[key] for key in one}


async def _chunks(
    deltas: Deltas, writers: list[_Writer], body: CompletionRequest, cover: Envelope
) -> AsyncGenerator[list[dict[str, Any]], None]:
    more: dict[str, Any] = {"usage": None} if body.wants_usage else {}
    num_answers = body.n or 1
    usage = Usage()
    async for prompt, delta in deltas:
        usage = add_usage(usage, delta.usage)
        writer = writers[prompt * num_answers + delta.index]
        echoed = writer.echo(delta)
        choices = [] if echoed is None else [echoed]
        if delta.text or delta.logprobs or delta.finish_reason:
            choices.append(writer.piece(delta))
        yield [cover.around([choice], **more) for choice in choices]
    if body.wants_usage:
        yield [cover.around([], usage=usage_answer(usage))]


def _complete(answer: Folded, writer: _Writer) -> dict[str, Any]:
    return writer.whole(
        Delta(
            text=answer.text,
            logprobs=tuple(answer.logprobs),
            finish_reason=answer.finish_reason,
            stop_reason=answer.stop_reason,
            prompt_logprobs=answer.prompt_logprobs,
        )
    )
