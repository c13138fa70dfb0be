"""Traces made small, loads against a small server that remembers prefixes, and the page."""

import asyncio
import json
import threading

import pytest
from benchmarks.peers.llama_build import TOOLS
from benchmarks.peers.protocol import Model, Place, Unavailable
from benchmarks.prefix_reuse import as_data, chosen, page, picture
from benchmarks.workloads.asking import Ask, Client, events
from benchmarks.workloads.made_up_words import made_up_words, num_words
from benchmarks.workloads.prefix_loads import Conversations, ManyUsers, Replay
from benchmarks.workloads.sized_servers import Fairway, LlamaServer, Room
from benchmarks.workloads.trace import Entry, conversations, ideal_hit_rate, read_trace, sample, scaled

TRACE = [
    Entry((0, 1, 2), 1100, 100),
    Entry((0, 5), 1024, 100),
    Entry((0, 1, 2, 3), 1600, 512),
    Entry((0, 1, 2, 3, 4), 2560, 1),
    Entry((0, 7), 600, 100),
]


@pytest.fixture
def server():
    """Counts words as tokens and says how many it has seen before, word by word from the beginning."""
    asked, seen = [], set()

    def known(words):
        prefixes = [tuple(words[:end]) for end in range(1, len(words))]
        cached = sum(prefix in seen for prefix in prefixes)
        seen.update([*prefixes, tuple(words)])
        return cached

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        asked.append(body)
        words, written = body["prompt"].split(), [" yes"] * body["max_tokens"]
        usage = {"prompt_tokens": len(words), "completion_tokens": len(written)}
        usage["prompt_tokens_details"] = {"cached_tokens": known(words)}
        known([*words, *"".join(written).split()])
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        events = [{"choices": [{"text": text}]} for text in written] + [{"choices": [], "usage": usage}]
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
    yield Client(f"http://127.0.0.1:{port}", "m"), asked
    loop.call_soon_threadsafe(listening[0].close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_the_ideal_counts_what_earlier_requests_had_and_always_computes_a_token():
    first, second = Entry((1, 2), 1024, 1), Entry((1, 2), 1024, 1)
    assert ideal_hit_rate([first, second]) == pytest.approx(1023 / 2048)
    hits = 0 + 512 + 1100 + 1600 + 512
    assert ideal_hit_rate(TRACE) == pytest.approx(hits / sum(entry.input_length for entry in TRACE))


def test_conversations_are_what_shares_more_than_everybody_does():
    assert conversations(TRACE) == [[0, 2, 3], [1], [4]]


def test_a_sample_has_whole_conversations_in_the_order_of_the_trace():
    for seed in range(5):
        drawn = sample(TRACE, 2, seed)
        assert len(drawn) >= 2
        assert drawn == [entry for entry in TRACE if entry in drawn]
        assert (TRACE[0] in drawn) == (TRACE[2] in drawn) == (TRACE[3] in drawn)


def test_a_small_request_shares_as_many_blocks_and_no_more():
    first, second = scaled(TRACE[0], 16), scaled(TRACE[2], 16)
    words = [ask.prompt.split() for ask in (first, second)]
    assert [len(each) for each in words] == [35, 50]
    assert words[0] == words[1][:35]
    assert words[1][:16] == scaled(TRACE[1], 16).prompt.split()[:16]
    assert words[1][16:] != scaled(TRACE[1], 16).prompt.split()[16:]
    assert [first.generate, second.generate, scaled(TRACE[3], 16).generate] == [4, 16, 1]


def test_a_trace_is_read_or_missed_with_a_reason(tmp_path):
    row = {"timestamp": 1, "input_length": 600, "output_length": 5, "hash_ids": [0, 3]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert read_trace(tmp_path / "a.jsonl") == [Entry((0, 3), 600, 5)]
    with pytest.raises(Unavailable, match="not on this machine"):
        read_trace(tmp_path / "b.jsonl")


def test_the_same_seed_gives_the_same_words():
    assert made_up_words(5, 1, 2) == made_up_words(5, 1, 2) != made_up_words(5, 1, 3)
    assert num_words(made_up_words(7, 1)) == 7


def test_a_replay_reaches_its_ideal_on_a_cache_that_forgets_nothing(server):
    client, asked = server
    asks = [scaled(entry, 16) for entry in TRACE]
    seen = Replay("trace", asks, ideal_hit_rate(TRACE, 16), clients=1).run(client)[0]
    assert seen.hit_rate == pytest.approx(seen.ideal)
    assert [body["prompt"] for body in asked] == [ask.prompt for ask in asks]
    assert 0 < seen.first_median_s <= seen.first_p95_s <= seen.whole_s


def test_many_users_share_the_system_prompt_first_among_themselves_then_with_the_first_time(server):
    load = ManyUsers("users", clients=4, shared=60, own=4, generate=2)
    first, again = load.run(server[0])
    assert (first.ideal, again.ideal) == (pytest.approx(60 * 3 / 256), pytest.approx(60 / 64))
    assert (first.hit_rate, again.hit_rate) == (pytest.approx(first.ideal), pytest.approx(again.ideal))
    assert len({body["prompt"] for body in server[1]}) == 8
    assert len(load.parts) == 2 and load.longest >= 66


def test_a_conversation_brings_back_what_was_said_and_answered(server):
    client, asked = server
    load = Conversations("chats", clients=2, turns=3, shared=10, said=5, generate=4)
    seen = load.run(client)[0]
    longest = max((body["prompt"] for body in asked), key=len)
    assert len(longest.split()) == 10 + 3 * 5 + 2 * 4 and longest.count("yes") == 8
    assert load.longest >= 10 + 3 * (5 + 4)
    assert seen.hit_rate == pytest.approx(seen.ideal)


def test_a_server_that_refuses_is_a_reason():
    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        reader.feed_eof()
        return [event async for event in events(reader)]

    with pytest.raises(Unavailable, match="503 Service Unavailable"):
        asyncio.run(read())


def test_servers_are_started_with_room_for_the_load(tmp_path):
    place, room = Place(tmp_path, 2, llama_tools=tmp_path), Room(8, 600)
    model = Model("m", tmp_path, 512, 1024, 1, tmp_path)
    ours = Fairway(caches=False).words(model, place, room)
    assert ours[-1] == "--no-enable-prefix-caching" and ours[ours.index("--context") + 1] == "600"
    for tool in TOOLS:
        (tmp_path / tool).touch()
    (tmp_path / "Q4_0.gguf").touch()
    theirs = LlamaServer().words(model, place, room)
    assert theirs[theirs.index("-c") + 1] == "4800" and theirs[theirs.index("-np") + 1] == "8"


def test_the_page_shows_figures_and_reasons(server):
    seen = Replay("trace", [Ask(" a b", 2)], 0.0, 1).run(server[0])[0]
    results = {"trace": {"Fairway int4": seen, "llama-server Q4_0": "not built"}}
    text = page(results, {"model": "m", "date": "2000-01-01"})
    assert "| Fairway int4 | 0.0% | 0.0% |" in text and "| llama-server Q4_0 | not built | – |" in text
    assert json.dumps(as_data(results)) and picture(results).count("<rect") == 2
    assert [server.name for server in chosen(["fairway"])] == ["Fairway int4", "Fairway int4, cache off"]
    assert len(chosen(None)) == 3
