"""Streaming clients of OpenAI's completions that look at the clock and at what came from the cache.

asyncio and just enough HTTP/1.1, so that the clients cost the machine as little as possible. They ask in a
closed loop: a fixed number of requests is under way, and who has an answer asks the next.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers.protocol import Unavailable

LINE_LIMIT_BYTES = 1 << 22


@dataclass(frozen=True)
class Ask:
    """One request."""

    prompt: str
    generate: int


@dataclass(frozen=True)
class Answer:
    """What a client saw of it; counts are the server's own."""

    first_s: float
    num_prompt: int
    num_cached: int
    num_generated: int
    text: str


@dataclass(frozen=True)
class Client:
    """Asks one model of one server."""

    url: str
    model: str

    async def ask(self, ask: Ask) -> Answer:
        where = urlsplit(self.url)
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=LINE_LIMIT_BYTES)
        writer.write(request(where.netloc, body(self.model, ask)))
        first_s, text, usage = None, "", None
        with closing(writer):
            async for event in events(reader):
                if event.get("choices"):
                    first_s = first_s if first_s is not None else time.perf_counter() - start
                    text += event["choices"][0].get("text") or ""
                usage = event.get("usage") or usage
        if first_s is None or usage is None:
            raise Unavailable("a stream ended without an answer")
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return Answer(first_s, usage["prompt_tokens"], cached, usage["completion_tokens"], text)


def body(model: str, ask: Ask) -> bytes:
    fields: dict[str, Any] = {
        "model": model,
        "prompt": ask.prompt,
        "max_tokens": ask.generate,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(fields).encode()


def request(host: str, content: bytes) -> bytes:
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content


async def events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each server-sent event; chunk sizes and blank lines between are skipped."""
    status = (await reader.readline()).decode("latin-1").split(" ", 2)
    if len(status) < 2 or status[1] != "200":
        raise Unavailable(f"the server answered {' '.join(status[1:]).strip()}")
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))


async def in_flight(client: Client, asks: Sequence[Ask], num_clients: int) -> list[Answer]:
    """All of `asks` in their order, `num_clients` of them under way at any time."""
    answers: dict[int, Answer] = {}
    left = iter(enumerate(asks))

    async def one_client() -> None:
        for index, ask in left:
            answers[index] = await client.ask(ask)

    await all_of(one_client for _ in range(num_clients))
    return [answers[index] for index in range(len(asks))]


async def conversation(client: Client, said: Sequence[str], generate: int) -> list[Answer]:
    """Turn after turn: each prompt is the one before, its answer, and what is said next."""
    history, answers = "", []
    for words in said:
        history += words
        answers.append(await client.ask(Ask(history, generate)))
        history += answers[-1].text
    return answers


async def all_of(tasks: Iterator[Callable[[], Awaitable[Any]]]) -> list[Any]:
    return list(await asyncio.gather(*(task() for task in tasks)))
