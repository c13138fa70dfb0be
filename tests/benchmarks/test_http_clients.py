"""The clients against a small server of our own."""

import asyncio
import json
import threading

import pytest
from benchmarks.comparison.http_clients import Stream, Texts, measure, summary
from benchmarks.comparison.http_loads import CROWDS, SHARED
from benchmarks.peers.protocol import Unavailable


@pytest.fixture
def server():
    """Streams as many words as asked for in odd pieces; 503 for the model "busy"."""
    asked = []

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        asked.append(body)
        if body["model"] == "busy":
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            events = [{"choices": [{"text": " a"}]}] * body["max_tokens"]
            events += [{"choices": [], "usage": {"completion_tokens": body["max_tokens"]}}]
            for event in events:
                data = f"data: {json.dumps(event)}\n\n".encode()
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    loop, ready = asyncio.new_event_loop(), threading.Event()
    listening = []

    async def main():
        listening.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        ready.set()

    def run():
        loop.run_until_complete(main())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    port = listening[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", asked
    loop.call_soon_threadsafe(listening[0].close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_all_clients_are_counted(server):
    url, asked = server
    seen = measure(url, "m", Texts().take(CROWDS[1], ""), 6)
    assert len(asked) == 8
    assert seen.tokens_per_s > 0
    assert 0 < seen.first_token_median_s <= seen.first_token_p95_s


def test_a_refusal_is_a_reason(server):
    with pytest.raises(Unavailable, match="503"):
        measure(server[0], "busy", [" a"], 6)


def test_answers_much_shorter_than_asked_for_do_not_count():
    with pytest.raises(Unavailable, match="10 of 96"):
        summary([Stream(0.1, 5), Stream(0.1, 5)], 1.0, 48)


def test_a_shared_prefix_is_shared_and_the_rest_is_not():
    texts = Texts()
    shared = texts.words(SHARED[0].shared)
    prompts = texts.take(SHARED[0], shared)
    assert len(set(prompts)) == 32
    assert all(prompt.startswith(shared) for prompt in prompts)
    assert len(prompts[0].split()) == 816
