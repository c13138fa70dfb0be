"""A model that says what a test wants, as slowly as it wants, behind the real command line.

Run as a program it is `fairway` with that model in place of every model. FAIRWAY_TEST_WORDS is how
many words an answer has, FAIRWAY_TEST_PAUSE_S the time each takes, FAIRWAY_TEST_TEMPLATE=0 leaves
out the chat template.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace

from fairway.engine.sampling_params import SamplingParams
from fairway.errors import ContextExceeded
from fairway.runtimes.protocol import (
    Delta,
    GenerationRequest,
    Logprob,
    ModelInfo,
    RuntimeStats,
    Usage,
)
from fairway.text.byte_tokenizer import ByteTokenizer

INFO = ModelInfo("fake", "/fake", "llama", 1000, "stored", 4000, 512, 256, "fake", 0)


@dataclass
class FakeGeneration:
    """Counts words: word0 word1 ..."""

    request: GenerationRequest
    num_words: int
    pause_s: float
    logprob: float = -1.0
    error: str | None = None

    def __post_init__(self) -> None:
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[Delta]:
        limit = self.request.sampling.max_tokens
        count = self.num_words if limit is None else min(limit, self.num_words)
        for i in range(count):
            if self.cancelled.wait(self.pause_s):
                return
            yield Delta(text=f"word{i} ", token_ids=(i,), logprobs=(Logprob(i, "w", b"w", self.logprob),))
        usage = Usage(len(self.request.prompt_ids), count)
        if self.error is not None:
            yield Delta(finish_reason="error", error=self.error)
            return
        yield Delta(finish_reason="length" if limit == count else "stop", usage=usage)

    def cancel(self) -> None:
        self.cancelled.set()


class FakeRuntime:
    def __init__(self, num_words: int = 5, pause_s: float = 0.0, has_template: bool = True, **more) -> None:
        self.info = replace(INFO, has_chat_template=has_template)
        self.tokenizer = ByteTokenizer()
        self.defaults = SamplingParams()
        self.adapters = None
        self.num_words, self.pause_s, self.more = num_words, pause_s, more
        self.requests: list[GenerationRequest] = []
        self.closed = False

    def chat_prompt(self, messages, *, tools=None, **variables) -> list[int]:
        text = "".join(f"<{each['role']}>{each['content']}" for each in messages)
        return self.tokenizer.encode(text)

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        if len(request.prompt_ids) > self.info.context:
            raise ContextExceeded(f"The prompt has {len(request.prompt_ids)} tokens and 512 fit.")
        self.requests.append(request)
        if os.environ.get("FAIRWAY_TEST_ECHO") == "1":
            print(f"[{self.tokenizer.decode(request.prompt_ids)}]", flush=True)
        return FakeGeneration(request, self.num_words, self.pause_s, **self.more)

    def stats(self) -> RuntimeStats:
        return RuntimeStats()

    def close(self) -> None:
        self.closed = True


def main() -> None:
    from fairway.cli import main as cli
    from fairway.cli import run

    runtime = FakeRuntime(
        int(os.environ.get("FAIRWAY_TEST_WORDS", "5")),
        float(os.environ.get("FAIRWAY_TEST_PAUSE_S", "0")),
        os.environ.get("FAIRWAY_TEST_TEMPLATE") != "0",
    )
    run.plan_model = lambda *_: SimpleNamespace(name="fake")
    run.load = lambda *_: runtime
    cli.main()


if __name__ == "__main__":
    main()
