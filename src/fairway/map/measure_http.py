"""The same workloads over HTTP: streaming clients against a server, timed from outside.

Speaks just enough HTTP/1.1 to post a JSON body and read a chunked event stream; asyncio only, so
that the clients cost the machine as little as possible.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fairway.errors import InternalError
from fairway.map.measure import Prompts, Workload

Prompt: TypeAlias = "str | list[int]"
PATH = "/v1/completions"
LINE_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class HttpRates:
    """One measurement."""

    output: float
    """Answer tokens per second over the whole time of the batch."""
    first_token_s: float
    """Median over the clients."""
    gap_s: float
    """Median time between two pieces of an answer."""


@dataclass(frozen=True)
class Stream:
    """What one client saw: when the pieces of its answer came, counted from its question."""

    arrivals_s: Sequence[float]
    num_tokens: int

    @property
    def gaps_s(self) -> list[float]:
        """Between one piece and the next."""
        return [b - a for a, b in zip(self.arrivals_s, self.arrivals_s[1:], strict=False)]


@dataclass(frozen=True)
class Crowd:
    """Clients that all asked at once."""

    streams: Sequence[Stream]
    whole_s: float

    @property
    def output(self) -> float:
        """Answer tokens per second over the whole time."""
        return sum(each.num_tokens for each in self.streams) / self.whole_s

    @property
    def firsts_s(self) -> list[float]:
        return [each.arrivals_s[0] for each in self.streams]

    @property
    def gaps_s(self) -> list[float]:
        return [gap for each in self.streams for gap in each.gaps_s]


def measure_http(url: str, model: str, workload: Workload, prompts: Prompts) -> HttpRates:
    """`batch` clients that all ask at once."""
    ids = list(prompts.take(workload.batch, workload.prompt))
    crowd = ask_all(url, model, ids, workload.generate)
    gaps = crowd.gaps_s
    return HttpRates(
        output=crowd.output,
        first_token_s=statistics.median(crowd.firsts_s),
        gap_s=statistics.median(gaps) if gaps else 0.0,
    )


def ask_all(url: str, model: str, prompts: Sequence[Prompt], num_tokens: int) -> Crowd:
    """One client for each prompt (text, or token ids), all at once; each gets exactly `num_tokens`."""
    return asyncio.run(_ask_all(url, [_body(model, prompt, num_tokens) for prompt in prompts]))


async def _ask_all(url: str, bodies: Sequence[bytes]) -> Crowd:
    start = time.perf_counter()
    streams = await asyncio.gather(*(_ask(url, body) for body in bodies))
    return Crowd(streams, time.perf_counter() - start)


def _body(model: str, prompt: Prompt, num_tokens: int) -> bytes:
    fields: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": num_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(fields).encode()


async def _ask(url: str, body: bytes) -> Stream:
    where = urlsplit(url)
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=LINE_LIMIT_BYTES)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    arrivals, num_tokens = [], 0
    with closing(writer):
        writer.write(head.encode() + body)
        async for event in _events(reader):
            if event.get("choices"):
                arrivals.append(time.perf_counter() - start)
            if usage := event.get("usage"):
                num_tokens = usage["completion_tokens"]
    if not arrivals:
        raise InternalError("A stream ended without an answer.")
    return Stream(arrivals, num_tokens)


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each server-sent event."""
    status = (await reader.readline()).split(b" ", 2)
    while (await reader.readline()).strip():
        pass  # headers
    if len(status) < 2 or status[1] != b"200":
        raise InternalError(f"The server answered {b' '.join(status).decode().strip()} to a measurement.")
    text = b""
    while size := int(await reader.readline() or b"0", 16):
        text += await reader.readexactly(size + 2)
        text = text[:-2]
        *events, text = text.split(b"\n\n")
        for event in events:
            data = event.removeprefix(b"data: ")
            if data.startswith(b"{"):
                yield json.loads(data)
