"""What chat and text completions have in common: how to sample, when to stop, what to report.

Names and bounds are OpenAI's, then vLLM's. Every field may be null, which means not set. Fields not
declared here or in a subclass are judged by `field_policy`, never dropped silently.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator

from fairway.server.validation import described, must_be

MAX_STOPS = 16
STOP = f"a text or a list of up to {MAX_STOPS} texts, none of them empty"
INT64 = 1 << 63


def _no_empty_stop(stop: str | list[str] | None) -> str | list[str] | None:
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MAX_STOPS or "" in stops:
        raise must_be(STOP)
    return stop


def _token_ids_of_keys(bias: object) -> object:
    if not isinstance(bias, dict):
        return bias
    if not all(isinstance(key, str) and key.isdecimal() and key.isascii() and len(key) < 10 for key in bias):
        raise must_be('an object from token ids to numbers, such as {"50256": -100}')
    return {int(key): value for key, value in bias.items()}


TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Stop = Annotated[str | list[str] | None, WrapValidator(described(STOP)), AfterValidator(_no_empty_stop)]
LogitBias = Annotated[
    dict[int, Annotated[float, Field(ge=-100, le=100)]] | None,
    BeforeValidator(_token_ids_of_keys, json_schema_input_type=dict[str, float] | None),
]


class StreamOptions(BaseModel):
    """What a stream adds to the answer."""

    model_config = ConfigDict(strict=True, extra="allow")

    include_usage: bool | None = Field(None, description="End with a chunk that has only the usage.")
    include_obfuscation: bool | None = Field(None, description="Accepted; chunks are never padded.")


class GenerationFields(BaseModel):
    """The fields of every request that generates."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    model: str | None = Field(None, description="May be left out when one model is served.")
    stream: bool | None = Field(None, description="Send the answer as server-sent events.")
    stream_options: StreamOptions | None = Field(None, description="Needs stream.")
    n: int | None = Field(None, ge=1, description="Number of answers; answer i draws with seed + i.")
    max_tokens: int | None = Field(
        None,
        ge=0,
        lt=1 << 31,
        description="Longest answer; unset: chat fills the context, completions take 16.",
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1, description="Only the likeliest tokens of this total.")
    top_k: int | None = Field(
        None, ge=-1, lt=1 << 31, description="Only so many of the likeliest tokens; 0 and -1: all."
    )
    min_p: float | None = Field(
        None, ge=0, le=1, description="Only tokens at least this likely, relative to the likeliest."
    )
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="Against tokens already said.")
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="Against tokens, by how often they were said."
    )
    repetition_penalty: float | None = Field(
        None, ge=0.01, le=10, description="Divides the logits of tokens in prompt and answer; 1 is none."
    )
    logit_bias: LogitBias = Field(None, description="Added to logits: token id to -100 to 100.")
    seed: int | None = Field(None, ge=-INT64, lt=INT64, description="Same seed, same answer.")
    stop: Stop = Field(None, description=f"Ends the answer before {STOP}.")
    stop_token_ids: list[TokenId] | None = Field(None, description="Tokens that end the answer.")
    include_stop_str_in_output: bool | None = Field(None, description="Keep the stop text in the answer.")
    ignore_eos: bool | None = Field(None, description="Go on past the model's own end of text.")
    min_tokens: int | None = Field(
        None, ge=0, lt=1 << 31, description="No end of text before so many tokens."
    )
    prompt_logprobs: int | None = Field(
        None, ge=0, description="The likeliest tokens at each prompt position."
    )

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)
