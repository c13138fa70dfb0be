"""Answers sampled by the engine that serves models, from one as it is now: weights, and what is beside them.

The rule: same model, prompts and seeds, same answers; nothing of an earlier model is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import FairwayError
from fairway.formats.bundle import Bundle
from fairway.formats.lora import Adapter
from fairway.formats.prefix_peft import Prefix
from fairway.kernels.program import PackedAdapter
from fairway.models.adapters import adapter_deltas
from fairway.models.prefix import prefix_tokens
from fairway.runtimes.loading import Loaded, NativeOptions, load_engine
from fairway.text.tokenizer import Tokenizer

BLOCK = 16
MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Sizes:
    """What the engine has to hold."""

    num_tokens: int
    """Of the longest prompt with its answer, virtual tokens included."""
    num_sequences: int
    rank: int
    """Of LoRA beside the weights; 0: none."""


class RolloutEngine:
    """One model at a time, and one adapter or prefix."""

    def __init__(self, sizes: Sizes, tokenizer: Tokenizer, end_ids: frozenset[int]) -> None:
        self._sizes, self._tokenizer, self._end_ids = sizes, tokenizer, end_ids
        self._loaded: Loaded | None = None

    def load(self, bundle: Bundle) -> None:
        """Weights in the place of those that are there, which go first."""
        self._loaded = None
        self._loaded = load_engine(bundle, self._options(bundle.name), tokenizer=self._tokenizer)

    def sample(
        self,
        beside: Adapter | Prefix | None,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: SamplingParams,
    ) -> list[list[int]]:
        """An answer per prompt, with the token that ends it where it ended. Only after `load`."""
        assert self._loaded is not None
        engine, identity = self._loaded.engine, beside.digest if beside else ""
        num_virtual = beside.shape.num_virtual_tokens if isinstance(beside, Prefix) else 0
        if beside is not None:
            engine.adapters.load(identity, self._packed(self._loaded, beside))
        requests = [
            Request(prompt, self._params(how, seed), id=str(at), adapter=identity, num_virtual=num_virtual)
            for at, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
        ]
        for each in requests:
            engine.add(each)
        while engine.has_work:
            for event in engine.step():
                if event.finish_reason == "error":
                    raise FairwayError(f"Sampling failed: {event.error}.", hint="Lower learning_rate.")
        if beside is not None:
            engine.adapters.unload(identity)
        return [each.token_ids[each.num_prompt :].tolist() for each in requests]

    def _packed(self, loaded: Loaded, beside: Adapter | Prefix) -> PackedAdapter:
        model = loaded.model
        if isinstance(beside, Prefix):
            return prefix_tokens(beside, model.cache_shape(1), model.max_context)
        return loaded.runner.pack_adapter(adapter_deltas(model.program, beside, self._sizes.rank))

    def _options(self, name: str) -> NativeOptions:
        sizes = self._sizes
        at_once = min(sizes.num_sequences, MOST_AT_ONCE)
        return NativeOptions(
            name=name,
            weight_type="stored",
            context=sizes.num_tokens,
            kv_type="f32",
            num_blocks=(at_once + 1) * -(-sizes.num_tokens // BLOCK),
            block_size=BLOCK,
            max_sequences=at_once,
            max_waiting=sizes.num_sequences,
            max_loras=1 if sizes.rank else 0,
            max_lora_rank=max(1, sizes.rank),
        )

    def _params(self, how: SamplingParams, seed: int) -> SamplingParams:
        return SamplingParams(
            temperature=how.temperature,
            max_tokens=how.max_tokens,
            seed=seed,
            end_of_text_ids=self._end_ids,
        )
