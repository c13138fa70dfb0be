"""The clients against a small server of our own."""

import asyncio
import json
import threading

import pytest
from benchmarks.comparison.http_loads import CROWDS, GENERATE, OFFLINE, SHARED, Load, Texts, offline_rate
from benchmarks.comparison.http_rounds import measure, record
from benchmarks.comparison.results import Row
from benchmarks.peers.protocol import Unavailable

from fairway.map.measure_http import Crowd, Stream


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
            written = 1 if body["model"] == "lazy" else body["max_tokens"]
            events += [{"choices": [], "usage": {"completion_tokens": written}}]
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


FEW = Load("few", "8 clients", 8, words=3, generate=6)


def test_all_clients_are_counted(server):
    url, asked = server
    crowd = measure(url, "m", FEW, Texts().of(FEW))
    assert len(asked) == 8
    assert [stream.num_tokens for stream in crowd.streams] == [6] * 8
    assert len(crowd.gaps_s) == 8 * 5


@pytest.mark.parametrize(
    ("model", "reason"), [("busy", "8 clients: .*503"), ("lazy", "wrote 8 of 48 tokens")]
)
def test_a_refusal_or_a_short_answer_is_a_reason(server, model, reason):
    with pytest.raises(Unavailable, match=reason):
        measure(server[0], model, FEW, Texts().of(FEW))


def test_nobody_there_is_a_reason():
    with pytest.raises(Unavailable, match="8 clients"):
        measure("http://127.0.0.1:9", "m", FEW, Texts().of(FEW))


def test_what_is_written_down_of_a_crowd():
    row = Row("a")
    record(row, FEW, Crowd([Stream([0.5, 0.6, 0.8], 3), Stream([1.5, 1.6, 1.7], 5)], whole_s=2.0))
    medians = {key: row.median(key) for key in row.values}
    assert medians["few"] == 4
    assert medians["few_first_s"] == 1.0
    assert medians["few_first_p95_s"] == pytest.approx(1.45)
    assert medians["few_gap_p95_s"] == pytest.approx(0.185)


def test_a_shared_prefix_is_shared_and_the_rest_is_not():
    loads = dict(Texts().all_loads())
    cold, warm = (loads[load] for load in SHARED)
    assert len({*cold, *warm}) == 64
    assert len({prompt[: 800 * 4] for prompt in cold + warm}) == 1
    assert len(cold[0].split()) == 816


def test_offline_is_the_same_work_as_32_clients():
    crowd = CROWDS[2]
    assert (OFFLINE.batch, OFFLINE.prompt, OFFLINE.generate + 1) == (
        crowd.clients,
        crowd.words,
        crowd.generate,
    )
    assert offline_rate({"first_s": 1.0, "after_first_s": 3.0}) == 32 * GENERATE / 4
