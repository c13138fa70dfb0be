"""What a request asks of the sampler. Field names are OpenAI's and vLLM's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen and when the answer ends. Validated on construction (`RequestError`)."""

    temperature: float = 1.0
    """0 is greedy."""
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
    """None: until the context is full."""
    min_tokens: int = 0
    """End-of-text and stop tokens cannot be chosen before this many tokens."""
    end_of_text_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    logprobs: int | None = None
    """None: none. n: the chosen token's log probability and the n most likely ones, before penalties
    and temperature (the model's own distribution, as OpenAI reports it)."""
    prompt_logprobs: int | None = None
