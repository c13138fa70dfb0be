"""A client that vanishes stops its answer within a step, at whatever stage it was."""

import time

import pytest
from raw_http import connect, eventually, post_bytes, read_until, reset
from scrape import Scrape
from serving import serving
from stack import make_runtime

CHAT = {"messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def slow():
    """One answer at a time, 20 ms a step: others wait."""
    runtime = make_runtime(step_latency_s=0.02, max_sequences=1)
    with serving(runtime) as server:
        yield server, runtime


def is_idle(runtime):
    stats = runtime.stats()
    return stats.num_running == stats.num_waiting == stats.kv_blocks_used == 0


def leave_gently(connection):
    connection.close()


@pytest.mark.parametrize("leave", [leave_gently, reset])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_while_it_is_answered(slow, stream, leave):
    server, runtime = slow
    connection = connect(server.address)
    connection.sendall(post_bytes("/v1/chat/completions", CHAT | {"stream": stream}))
    eventually(lambda: runtime.stats().generated_tokens_total > 3)
    leave(connection)
    eventually(lambda: is_idle(runtime))
    assert runtime.stats().generated_tokens_total < 100


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_while_it_waits_in_the_queue(slow, stream):
    server, runtime = slow
    with connect(server.address) as first:
        first.sendall(post_bytes("/v1/chat/completions", CHAT | {"stream": True}))
        eventually(lambda: runtime.stats().num_running == 1)
        second = connect(server.address)
        second.sendall(post_bytes("/v1/chat/completions", CHAT | {"stream": stream}))
        eventually(lambda: runtime.stats().num_waiting == 1)
        second.close()
        eventually(lambda: runtime.stats().num_waiting == 0)
        assert runtime.stats().num_running == 1
    eventually(lambda: is_idle(runtime))


def test_while_the_prompt_is_read():
    runtime = make_runtime(step_latency_s=0.3, context=8192, num_blocks=1024)
    with serving(runtime) as server:
        connection = connect(server.address)
        body = {"messages": [{"role": "user", "content": "x" * 6000}], "stream": True}
        connection.sendall(post_bytes("/v1/chat/completions", body))
        eventually(lambda: runtime.stats().num_running == 1)
        connection.close()
        eventually(lambda: is_idle(runtime))
        assert runtime.stats().generated_tokens_total == 0


def test_all_prompts_and_answers_of_a_request_stop_together(slow):
    server, runtime = slow
    connection = connect(server.address)
    body = {"prompt": ["a", "b", "c"], "n": 3, "max_tokens": 500}
    connection.sendall(post_bytes("/v1/completions", body))
    eventually(lambda: runtime.stats().num_running + runtime.stats().num_waiting == 9)
    connection.close()
    eventually(lambda: is_idle(runtime))
    eventually(lambda: Scrape(server.url)("answers_total", finish_reason="abort") == 9)


def test_before_the_body_is_complete(slow):
    server, _ = slow
    connection = connect(server.address)
    connection.sendall(post_bytes("/v1/chat/completions", CHAT)[:-5])
    time.sleep(0.1)
    connection.close()
    eventually(lambda: Scrape(server.url)("http_requests_total", status="499") == 1)
    assert Scrape(server.url)("answers_total") == 0


def test_a_client_that_stops_reading_counts_as_gone(caplog):
    runtime = make_runtime(context=60_000, num_blocks=8192)
    with serving(runtime, send_timeout_s=0.3) as server:
        connection = connect(server.address)
        body = CHAT | {"stream": True, "logprobs": True, "top_logprobs": 20, "n": 8}
        connection.sendall(post_bytes("/v1/chat/completions", body))
        read_until(connection, b"data: ")
        eventually(lambda: runtime.stats().generated_tokens_total > 100)
        eventually(lambda: is_idle(runtime), within_s=20)
        eventually(lambda: Scrape(server.url)("answers_total", finish_reason="abort") == 8)
        eventually(lambda: server.num_connections == 0)
        assert caplog.text == ""
        connection.close()


def test_what_vanished_is_counted(slow):
    server, runtime = slow
    connection = connect(server.address)
    connection.sendall(post_bytes("/v1/chat/completions", CHAT | {"n": 2}))
    eventually(lambda: runtime.stats().generated_tokens_total > 0)
    assert Scrape(server.url)("answers_in_flight", model="letters") == 2
    connection.close()
    eventually(lambda: Scrape(server.url)("answers_in_flight") == 0)
    read = Scrape(server.url)
    assert read("answers_total", finish_reason="abort") == read("answers_total") == 2
    assert read("http_requests_total", route="/v1/chat/completions", status="499") == 1
    assert read("engine_requests_total", finish_reason="abort") == 2
    assert read("answer_duration_seconds_count") == 2
