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
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fairway.errors import InternalError
from fairway.map.measure import Prompts, Workload

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
class _Stream:
    """What one client saw."""

    start: float
    arrivals: Sequence[float]
    num_tokens: int


def measure_http(url: str, model: str, workload: Workload, prompts: Prompts) -> HttpRates:
    """`batch` clients that all ask at once."""
    return asyncio.run(_measure(url, model, workload, prompts))


async def _measure(url: str, model: str, workload: Workload, prompts: Prompts) -> HttpRates:
    bodies = [_body(model, ids, workload.generate) for ids in prompts.take(workload.batch, workload.prompt)]
    start = time.perf_counter()
    streams = await asyncio.gather(*(_ask(url, body) for body in bodies))
    whole_s = time.perf_counter() - start
    gaps = [b - a for each in streams for a, b in zip(each.arrivals, each.arrivals[1:], strict=False)]
    return HttpRates(
        output=sum(each.num_tokens for each in streams) / whole_s,
        first_token_s=statistics.median(each.arrivals[0] - each.start for each in streams),
        gap_s=statistics.median(gaps) if gaps else 0.0,
    )


def _body(model: str, ids: Sequence[int], num_tokens: int) -> bytes:
    fields: dict[str, Any] = {
        "model": model,
        "prompt": list(ids),
        "max_tokens": num_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(fields).encode()


async def _ask(url: str, body: bytes) -> _Stream:
    where = urlsplit(url)
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=LINE_LIMIT_BYTES)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    arrivals, num_tokens = [], 0
    async for event in _events(reader):
        if event.get("choices"):
            arrivals.append(time.perf_counter())
        if usage := event.get("usage"):
            num_tokens = usage["completion_tokens"]
    writer.close()
    if not arrivals:
        raise InternalError("A stream ended without an answer.")
    return _Stream(start, arrivals, num_tokens)


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
