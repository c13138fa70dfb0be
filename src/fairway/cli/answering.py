"""One answer in a terminal: streamed as it comes, stopped by Ctrl-C, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fairway.errors import InternalError
from fairway.runtimes.protocol import GenerationRequest, Runtime, Usage


@dataclass
class Answer:
    """What came back, whole or as far as it got."""

    text: str = ""
    finish_reason: str = "stopped"
    usage: Usage = field(default_factory=Usage)
    first_token_s: float = 0.0
    seconds: float = 0.0
    num_tokens: int = 0

    @property
    def tokens_per_s(self) -> float:
        """Of decoding; the first token belongs to reading the prompt."""
        return max(self.num_tokens - 1, 0) / max(self.seconds - self.first_token_s, 1e-9)

    @property
    def speed(self) -> str:
        """For --verbose."""
        cached = f" ({self.usage.cached_tokens} of them cached)" if self.usage.cached_tokens else ""
        return (
            f"first token after {self.first_token_s:.2f} s, {self.num_tokens} tokens at "
            f"{self.tokens_per_s:.1f} per second, prompt of {self.usage.prompt_tokens}{cached}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.num_tokens,
            "first_token_s": round(self.first_token_s, 4),
            "tokens_per_s": round(self.tokens_per_s, 1),
        }


def answer(runtime: Runtime, request: GenerationRequest, show: Callable[[str], None]) -> Answer:
    """Runs a request to its end. Ctrl-C ends the answer, not the program: what came so far is kept."""
    result = Answer(usage=Usage(prompt_tokens=len(request.prompt_ids)))
    start = time.perf_counter()
    generation = runtime.generate(request)
    try:
        for delta in generation:
            if delta.error is not None:
                raise InternalError(f"The answer broke off: {delta.error}.")
            result.seconds = time.perf_counter() - start
            result.first_token_s = result.first_token_s or result.seconds
            result.num_tokens += len(delta.token_ids)
            result.text += delta.text
            result.finish_reason = delta.finish_reason or result.finish_reason
            result.usage = delta.usage or result.usage
            show(delta.text)
    except KeyboardInterrupt:
        generation.cancel()
    return result
