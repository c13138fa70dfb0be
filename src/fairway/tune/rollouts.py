"""Answers sampled from the model as it is now, by the engine that serves it: its weights, and the adapter.

The rule: same adapter, prompts and seeds, same answers; nothing of an earlier adapter is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import FairwayError
from fairway.formats.bundle import Bundle
from fairway.formats.lora import Adapter
from fairway.models.adapters import adapter_deltas
from fairway.runtimes.loading import NativeOptions, load_engine

BLOCK = 16
MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Sizes:
    """What the engine has to hold."""

    num_tokens: int
    """Of the longest prompt with its answer."""
    num_sequences: int
    rank: int


class RolloutEngine:
    """One base model, and one adapter at a time."""

    def __init__(self, bundle: Bundle, sizes: Sizes, end_ids: frozenset[int]) -> None:
        at_once = min(sizes.num_sequences, MOST_AT_ONCE)
        options = NativeOptions(
            name=bundle.name,
            weight_type="stored",
            context=sizes.num_tokens,
            kv_type="f32",
            num_blocks=(at_once + 1) * -(-sizes.num_tokens // BLOCK),
            block_size=BLOCK,
            max_sequences=at_once,
            max_waiting=sizes.num_sequences,
            max_loras=1,
            max_lora_rank=sizes.rank,
        )
        self._loaded = load_engine(bundle, options)
        self._rank, self._end_ids = sizes.rank, end_ids

    def sample(
        self, adapter: Adapter, prompts: Sequence[Sequence[int]], seeds: Sequence[int], how: SamplingParams
    ) -> list[list[int]]:
        """An answer per prompt, with the token that ends it where it ended."""
        engine, identity = self._loaded.engine, adapter.digest
        deltas = adapter_deltas(self._loaded.model.program, adapter, self._rank)
        engine.adapters.load(identity, self._loaded.runner.pack_adapter(deltas))
        requests = [
            Request(prompt, self._params(how, seed), id=str(number), adapter=identity)
            for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
        ]
        for each in requests:
            engine.add(each)
        while engine.has_work:
            for event in engine.step():
                if event.finish_reason == "error":
                    raise FairwayError(f"Sampling failed: {event.error}.", hint="Lower learning_rate.")
        engine.adapters.unload(identity)
        return [each.token_ids[each.num_prompt :].tolist() for each in requests]

    def _params(self, how: SamplingParams, seed: int) -> SamplingParams:
        return SamplingParams(
            temperature=how.temperature,
            max_tokens=how.max_tokens,
            seed=seed,
            end_of_text_ids=self._end_ids,
        )
