"""Streaming clients that all ask at once: tokens per second and time to first token, from outside.

asyncio and just enough HTTP/1.1 to post a completion and read its event stream, so that the clients
cost the machine as little as possible. Prompts are text of made-up words, one token each in the
tokenizer of the random models.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from benchmarks.comparison.http_loads import Load
from benchmarks.peers.protocol import Unavailable

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LINE_LIMIT_BYTES = 1 << 20
MIN_TOKENS_SHARE = 0.9
"""An answer that is much shorter than asked for is another workload."""


@dataclass(frozen=True)
class Seen:
    """What the clients of one load saw."""

    tokens_per_s: float
    first_token_median_s: float
    first_token_p95_s: float


@dataclass(frozen=True)
class Stream:
    """What one client saw."""

    first_s: float
    num_tokens: int


class Texts:
    """Prompts that are never twice the same, except for the words that a load shares."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def words(self, count: int) -> str:
        letters = self._random.integers(len(LETTERS), size=(count, 3))
        return "".join(" " + "".join(LETTERS[index] for index in word) for word in letters)

    def take(self, load: Load, shared: str) -> list[str]:
        return [shared + self.words(load.words) for _ in range(load.clients)]


def measure(url: str, model: str, prompts: Sequence[str], generate: int) -> Seen:
    start = time.perf_counter()
    streams = asyncio.run(_all(url, [_body(model, prompt, generate) for prompt in prompts]))
    return summary(streams, time.perf_counter() - start, generate)


def summary(streams: Sequence[Stream], whole_s: float, generate: int) -> Seen:
    num_tokens = sum(stream.num_tokens for stream in streams)
    if num_tokens < MIN_TOKENS_SHARE * generate * len(streams):
        raise Unavailable(f"the server wrote {num_tokens} of {generate * len(streams)} tokens")
    firsts = [stream.first_s for stream in streams]
    p95 = float(np.percentile(firsts, 95))
    return Seen(num_tokens / whole_s, statistics.median(firsts), p95)


def _body(model: str, prompt: str, generate: int) -> bytes:
    fields = {
        "model": model,
        "prompt": prompt,
        "max_tokens": generate,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(fields).encode()


async def _all(url: str, bodies: Sequence[bytes]) -> list[Stream]:
    return await asyncio.gather(*(_ask(url, body) for body in bodies))


async def _ask(url: str, body: bytes) -> Stream:
    where = urlsplit(url)
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=LINE_LIMIT_BYTES)
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    first_s, num_tokens = None, 0
    with closing(writer):
        async for event in _events(reader):
            if event.get("choices") and first_s is None:
                first_s = time.perf_counter() - start
            if usage := event.get("usage"):
                num_tokens = usage["completion_tokens"]
    if first_s is None:
        raise Unavailable("a stream ended without an answer")
    return Stream(first_s, num_tokens)


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict]:  # type: ignore[type-arg]
    """The JSON of each server-sent event; chunk sizes and blank lines between are skipped."""
    status = (await reader.readline()).decode("latin-1").split(" ", 2)
    if len(status) < 2 or status[1] != "200":
        raise Unavailable(f"the server answered {' '.join(status[1:]).strip()}")
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))
