"""A runtime that does exactly what a test tells it, also what a good one never would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fairway.engine.sampling_params import SamplingParams
from fairway.runtimes.protocol import Delta, GenerationRequest, ModelInfo, RuntimeStats
from fairway.text.byte_tokenizer import ByteTokenizer

INFO = ModelInfo("scripted", "/", "none", 1, "f32", 1, 100, 258, "scripted", 1)


class ScriptedGeneration:
    """Yields deltas, raises exceptions, waits for numbers of seconds."""

    def __init__(self, steps: Iterable[Delta | Exception | float]) -> None:
        self._steps = steps
        self.num_cancels = 0

    async def __aiter__(self):
        for step in self._steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, Exception):
                raise step
            else:
                yield step

    def cancel(self) -> None:
        self.num_cancels += 1


@dataclass
class ScriptedRuntime:
    """Answers every request with the same steps."""

    steps: Iterable[Delta | Exception | float] = ()
    refuse: Callable[[GenerationRequest], None] = lambda request: None
    info: ModelInfo = INFO
    tokenizer: ByteTokenizer = field(default_factory=ByteTokenizer)
    defaults: SamplingParams = field(default_factory=SamplingParams)
    adapters: None = None
    generations: list[ScriptedGeneration] = field(default_factory=list)
    requests: list[GenerationRequest] = field(default_factory=list)

    def chat_prompt(self, messages, *, tools=None, **variables):
        return self.tokenizer.encode(str(messages))

    def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        self.refuse(request)
        self.requests.append(request)
        self.generations.append(ScriptedGeneration(self.steps))
        return self.generations[-1]

    def stats(self) -> RuntimeStats:
        return RuntimeStats()

    def close(self) -> None:
        pass
