"""A runtime seen through one of its adapters: the same tokenizer, template and engine, other answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairway.runtimes.adapters import AdapterInfo
from fairway.runtimes.protocol import Generation, GenerationRequest, ModelInfo, Runtime, RuntimeStats


class AdaptedRuntime:
    """`Runtime` over another one, every request of which names `adapter`. Closing it closes nothing."""

    def __init__(self, base: Runtime, adapter: AdapterInfo) -> None:
        self.info = adapted_info(base.info, adapter)
        self.tokenizer = base.tokenizer
        self.defaults = base.defaults
        self.adapters = None
        self.base_name = base.info.name
        self._base = base
        self._adapter = adapter.name

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,  # noqa: ANN401
    ) -> list[int]:
        return self._base.chat_prompt(messages, tools=tools, **variables)

    def generate(self, request: GenerationRequest) -> Generation:
        return self._base.generate(replace(request, adapter=self._adapter))

    def stats(self) -> RuntimeStats:
        return self._base.stats()

    def close(self) -> None:
        """The base goes on."""


def adapted_info(base: ModelInfo, adapter: AdapterInfo) -> ModelInfo:
    """Virtual tokens take their part of the context."""
    context = base.context - adapter.num_virtual_tokens
    return replace(base, name=adapter.name, created_s=adapter.created_s, context=context)
