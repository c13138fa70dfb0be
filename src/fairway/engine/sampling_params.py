"""What a request asks of the sampler. Field names are OpenAI's and vLLM's.

The rule: what is impossible is refused here, once, so that nobody below has to look again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

from fairway.errors import RequestError

_RANGES: Mapping[str, tuple[float, float, float]] = {
    "temperature": (0.0, inf, 0.7),
    "top_k": (1, inf, 40),
    "top_p": (0.0, 1.0, 0.9),
    "min_p": (0.0, 1.0, 0.05),
    "repetition_penalty": (0.01, 100.0, 1.1),
    "presence_penalty": (-2.0, 2.0, 0.5),
    "frequency_penalty": (-2.0, 2.0, 0.5),
    "max_tokens": (0, inf, 128),
    "min_tokens": (0, inf, 8),
    "logprobs": (0, inf, 5),
    "prompt_logprobs": (0, inf, 5),
}
"""Lowest and highest value, and one that works."""

_ABOVE_LOWEST = {"top_p"}


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen and when the answer ends. Validated on construction (`RequestError`)."""

    temperature: float = 1.0
    """0 is greedy, and so is anything below 1e-5."""
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    """Same seed, prompt and parameters: same tokens, whatever the batch. None draws one."""
    max_tokens: int | None = None
    """None: until the context is full. 0: only reads the prompt, for its log probabilities."""
    min_tokens: int = 0
    """End-of-text and stop tokens cannot be chosen before this many tokens."""
    end_of_text_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    logprobs: int | None = None
    """None: none. n: the chosen token's log probability and the n most likely ones, before penalties
    and temperature (the model's own distribution, as OpenAI reports it)."""
    prompt_logprobs: int | None = None

    def __post_init__(self) -> None:
        for name, (lowest, highest, example) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not _is_inside(value, lowest, highest, name in _ABOVE_LOWEST):
                raise RequestError(f"{name} is {value}; {_range(name)}, for example {example}.", param=name)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise RequestError(
                f"min_tokens is {self.min_tokens}, above max_tokens, which is {self.max_tokens}.",
                param="min_tokens",
            )
        if not all(isfinite(bias) for bias in self.logit_bias.values()):
            raise RequestError("logit_bias has a value that is not a finite number.", param="logit_bias")

    @property
    def ids_that_end(self) -> frozenset[int]:
        """Tokens after which the answer ends with "stop"."""
        return self.stop_token_ids if self.ignore_eos else self.stop_token_ids | self.end_of_text_ids

    @property
    def is_greedy(self) -> bool:
        return self.temperature < 1e-5

    @property
    def has_penalties(self) -> bool:
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0

    @property
    def adjusts_logits(self) -> bool:
        """The choice is not made from the model's logits as they are."""
        return bool(self.logit_bias) or self.min_tokens > 0 or self.has_penalties


def _is_inside(value: float, lowest: float, highest: float, above: bool) -> bool:
    return isfinite(value) and (lowest < value if above else lowest <= value) and value <= highest


def _range(name: str) -> str:
    lowest, highest, _ = _RANGES[name]
    start = "above" if name in _ABOVE_LOWEST else "at least"
    end = "" if highest == inf else f" and at most {highest:g}"
    return f"it must be {start} {lowest:g}{end}"
