"""200 clients stream at once and randomly vanish: the server survives and its numbers add up."""

import asyncio
import gc
import json
import random
from collections import Counter
from contextlib import suppress

import psutil
import pytest
from raw_http import eventually, post_bytes
from scrape import Scrape
from serving import serving
from stack import make_runtime

NUM_CLIENTS = 200
NUM_ROUNDS = 3
MEBIBYTE = 1 << 20


async def one_client(address, draw):
    """Sends a request and stays for some frames, or to the end. Returns how it went."""
    await asyncio.sleep(draw.random() * 0.2)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    body = {
        "messages": [{"role": "user", "content": "shared beginning " * 8 + str(draw.random())}],
        "stream": True,
        "max_tokens": draw.randint(1, 80),
        "n": draw.choice([1, 1, 2]),
        "stream_options": {"include_usage": True},
    }
    writer.write(post_bytes("/v1/chat/completions", body))
    frames_to_stay = draw.choice([0, 1, 3, 20, 10_000])
    usage = None
    with suppress(ConnectionResetError):
        async for line in reader:
            if line.startswith(b"data: [DONE]") or frames_to_stay == 0:
                break
            if line.startswith(b"data: "):
                frames_to_stay -= 1
                usage = json.loads(line[6:]).get("usage") or usage
    if draw.random() < 0.5:
        writer.transport.abort()
    writer.close()
    return body["n"], usage


async def all_clients(address, seed):
    draw = random.Random(seed)
    return await asyncio.gather(
        *(one_client(address, random.Random(draw.random())) for _ in range(NUM_CLIENTS))
    )


def is_idle(runtime):
    stats = runtime.stats()
    return stats.num_running == stats.num_waiting == stats.kv_blocks_used == 0


@pytest.mark.timeout(180)
def test_200_clients_that_vanish(caplog):
    runtime = make_runtime(num_blocks=1024, max_sequences=64, step_latency_s=0.001)
    process = psutil.Process()
    with serving(runtime) as server:
        results, memory = [], []
        for seed in range(NUM_ROUNDS):
            results += asyncio.run(all_clients(server.address, seed))
            eventually(lambda: is_idle(runtime), within_s=30)
            eventually(lambda: Scrape(server.url)("answers_in_flight") == 0)
            gc.collect()
            memory.append(process.memory_info().rss)
        assert memory[-1] - memory[0] < 24 * MEBIBYTE
        _check_the_sums(server.url, runtime, results)
    assert caplog.text == ""


def _check_the_sums(url, runtime, results):
    num_answers = sum(n for n, _ in results)
    tokens_seen = sum(usage["completion_tokens"] for _, usage in results if usage)
    read, stats = Scrape(url), runtime.stats()
    assert read("answers_total") == num_answers
    assert read("answer_duration_seconds_count") == num_answers
    assert read("http_requests_total", route="/v1/chat/completions") == len(results)
    assert read("engine_requests_total") == sum(stats.requests_total.values()) == num_answers
    assert tokens_seen <= read("generated_tokens_total") == stats.generated_tokens_total
    observed = read("time_to_first_token_seconds_count") + read("inter_token_latency_seconds_count")
    assert tokens_seen <= observed <= read("generated_tokens_total")
    ended = Counter({reason: read("answers_total", finish_reason=reason) for reason in ("length", "abort")})
    assert ended.total() == num_answers
    assert min(ended.values()) > 0
    assert stats.kv_blocks_used == 0
    assert stats.kv_blocks_cached <= stats.kv_blocks_total
