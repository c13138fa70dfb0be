"""From request fields to the engine's parameters.

What a request leaves out comes from the model authors' recommendations (`runtime.defaults`), so
this module has no default of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairway.engine.sampling_params import SamplingParams
from fairway.errors import RequestError
from fairway.runtimes.protocol import Runtime
from fairway.server.openai.request_fields import GenerationFields
from fairway.server.settings import ServerSettings

# Same name and meaning on both sides.
SAME_NAME = (
    "temperature",
    "top_p",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
    "ignore_eos",
    "min_tokens",
)


def sampling_params(
    body: GenerationFields,
    runtime: Runtime,
    *,
    max_tokens: int | None,
    logprobs: int | None,
    prompt_logprobs: int | None,
) -> SamplingParams:
    """What the engine needs to know. Raises `RequestError` for ids the model does not have."""
    _check_ids(body.logit_bias or (), "logit_bias", runtime)
    _check_ids(body.stop_token_ids or (), "stop_token_ids", runtime)
    given = {name: value for name in SAME_NAME if (value := getattr(body, name)) is not None}
    if body.top_k is not None:
        given["top_k"] = body.top_k if body.top_k > 0 else None
    if body.stop_token_ids is not None:
        given["stop_token_ids"] = frozenset(body.stop_token_ids)
    if max_tokens is not None:
        given["max_tokens"] = max_tokens
    return replace(runtime.defaults, **given, logprobs=logprobs, prompt_logprobs=prompt_logprobs)


def check_limits(body: GenerationFields, settings: ServerSettings, **logprobs: int | None) -> None:
    """Limits that are settings. `logprobs` are the fields that count likeliest tokens, by name."""
    _at_most("n", body.n, settings.max_answers)
    for name, value in logprobs.items():
        _at_most(name, value, settings.max_logprobs)
    if body.stream_options is not None and not body.stream:
        raise RequestError("stream_options needs stream to be true.", param="stream_options")
    if body.prompt_logprobs is not None and body.stream:
        raise RequestError(
            "prompt_logprobs cannot be streamed.", hint="Leave stream out.", param="prompt_logprobs"
        )


def _at_most(name: str, value: int | None, limit: int) -> None:
    if value is not None and value > limit:
        raise RequestError(f"{name} is {value}; it must be at most {limit}.", param=name)


def _check_ids(ids: Iterable[int], field: str, runtime: Runtime) -> None:
    size = runtime.info.vocab_size
    for token_id in ids:
        if token_id >= size:
            raise RequestError(
                f"{field} names token {token_id}; the model's tokens are 0 to {size - 1}.", param=field
            )
