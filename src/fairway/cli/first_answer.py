"""The check before anything is served: one real, short generation whose numbers must make sense.

A model that loads can still be broken (a wrong type, damaged weights): then probabilities are not
finite or nothing comes out, and it is better to say so now than to a client.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from fairway.errors import FormatError
from fairway.runtimes.protocol import GenerationRequest, Runtime

QUESTION = "Tell me a little story."
OPENING = "Once upon a time"
MAX_TOKENS = 64
# A slow model has shown that it works after this long.
LONGEST_S = 8.0
SEED = 1


@dataclass(frozen=True)
class FirstAnswer:
    """What the model said, and how fast."""

    prompt: str
    text: str
    num_tokens: int
    first_token_s: float
    seconds: float
    num_prompt_tokens: int
    is_whole: bool
    """Whether the model had finished; False when it was cut short here."""

    def as_text(self, emphasise: Callable[[str], str]) -> str:
        """Question and answer, or opening and continuation, for people."""
        end = "" if self.is_whole else " ..."
        if self.prompt == OPENING:
            return emphasise(self.prompt) + self.text.rstrip() + end
        return f"{emphasise(self.prompt)}\n{self.text.strip()}{end}"

    @property
    def tokens_per_s(self) -> float:
        """Of decoding, the first token left out."""
        return (self.num_tokens - 1) / max(self.seconds - self.first_token_s, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "text": self.text,
            "num_tokens": self.num_tokens,
            "first_token_s": round(self.first_token_s, 4),
            "tokens_per_s": round(self.tokens_per_s, 1),
        }


def check(runtime: Runtime, show: Callable[[str], None] = lambda _: None) -> FirstAnswer:
    """Asks a question (or begins a story, without a chat template). Raises `FormatError` for nonsense."""
    has_template = runtime.info.has_chat_template
    prompt = QUESTION if has_template else OPENING
    ids = (
        runtime.chat_prompt([{"role": "user", "content": prompt}])
        if has_template
        else runtime.tokenizer.encode(prompt)
    )
    ids = ids[: max(1, runtime.info.context - 1)]
    num_tokens = min(MAX_TOKENS, runtime.info.context - len(ids))
    sampling = replace(runtime.defaults, max_tokens=num_tokens, seed=SEED, logprobs=0)
    return _checked(runtime, GenerationRequest(ids, sampling), prompt, show)


def _checked(
    runtime: Runtime, request: GenerationRequest, prompt: str, show: Callable[[str], None]
) -> FirstAnswer:
    start = time.perf_counter()
    first_s, text, num_tokens, is_whole = 0.0, "", 0, False
    generation = runtime.generate(request)
    for delta in generation:
        now = time.perf_counter() - start
        if delta.error is not None:
            raise FormatError(f"{runtime.info.name} cannot answer: {delta.error}.", hint=_HINT)
        if not all(isfinite(each.logprob) for each in delta.logprobs):
            raise FormatError(
                f"{runtime.info.name} computes numbers that are not finite: its weights are broken.",
                hint=_HINT,
            )
        first_s = first_s or now
        num_tokens += len(delta.token_ids)
        text += delta.text
        is_whole = delta.finish_reason == "stop"
        show(delta.text)
        if now > LONGEST_S:
            break
    generation.cancel()
    if num_tokens == 0:
        raise FormatError(f"{runtime.info.name} answers with nothing.", hint=_HINT)
    seconds = time.perf_counter() - start
    return FirstAnswer(prompt, text, num_tokens, first_s, seconds, len(request.prompt_ids), is_whole)


_HINT = "Try --weights bf16, or another copy of the model."
