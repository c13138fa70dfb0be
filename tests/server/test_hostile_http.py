"""Hostile HTTP over raw sockets: too large, too slow, half, broken. Each ends in one clear answer."""

import json
import time

import httpx
import pytest
from raw_http import connect, eventually, post_bytes, read_all, read_until, status_of
from serving import serving
from stack import make_runtime

CHAT = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
LIMITS = {"max_body_bytes": 20_000, "max_header_bytes": 4096, "read_timeout_s": 0.4}


@pytest.fixture(scope="module")
def strict():
    with serving(make_runtime(), **LIMITS) as server:
        yield server
        assert httpx.post(server.url + "/v1/chat/completions", json=CHAT).status_code == 200


def exchange(server, *pieces, pause_s=0.0):
    """Sends the pieces, then reads until the server closes."""
    with connect(server.address) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        return read_all(connection)


def error_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    return json.loads(body)["error"]


def test_a_body_announced_too_large_is_refused_before_it_is_read(strict):
    head = post_bytes("/v1/chat/completions", CHAT).partition(b"Content-Length")[0]
    answer = exchange(strict, head + b"Content-Length: 99999999\r\n\r\n")
    assert (status_of(answer), error_of(answer)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("length", ["20001", "9" * 18])
def test_the_limit_is_exact(strict, length):
    head = post_bytes("/v1/chat/completions", CHAT).partition(b"Content-Length")[0]
    assert status_of(exchange(strict, head + b"Content-Length: " + length.encode() + b"\r\n\r\n")) == 413
    body = json.dumps(CHAT).encode().ljust(20_000)
    headers = {"content-type": "application/json"}
    assert httpx.post(strict.url + "/v1/chat/completions", content=body, headers=headers).status_code == 200


def test_a_streamed_body_without_a_length_is_limited_too(strict):
    def pieces():
        for _ in range(1000):
            yield b" " * 1000

    answer = httpx.post(
        strict.url + "/v1/chat/completions", content=pieces(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


def test_a_client_that_goes_on_sending_still_reads_the_answer(strict):
    answer = httpx.post(
        strict.url + "/v1/chat/completions",
        content=b" " * 3_000_000,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413
    assert "20000" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 5000,
    ],
    ids=["one header", "path", "many headers", "endless header"],
)
def test_headers_too_large(strict, head):
    answer = exchange(strict, head)
    assert (status_of(answer), error_of(answer)["code"]) == (431, "headers_too_large")


def test_an_endless_header_is_cut_off_early(strict):
    with connect(strict.address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        end = time.monotonic() + 10
        with pytest.raises(OSError):
            while time.monotonic() < end:
                connection.send(b"a" * 65536)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET /health HTTP/1.1\r\nHo"], 408),
        ([b"G"], 408),
        ([post_bytes("/v1/chat/completions", CHAT)[:-3]], 408),
        ([post_bytes("/v1/chat/completions", CHAT)[:60]], 408),
        ([], None),
        ([b"\r\n\r\n"], 408),
    ],
    ids=["half a header", "a letter", "half a body", "no body", "nothing", "empty lines"],
)
def test_a_half_request_is_ended_after_the_read_timeout(strict, pieces, status):
    started = time.monotonic()
    answer = exchange(strict, *pieces)
    assert 0.3 < time.monotonic() - started < 4
    assert (status_of(answer) if answer else None) == status


def test_slowloris_is_ended_however_steadily_it_drips(strict):
    started = time.monotonic()
    with connect(strict.address) as connection:
        try:
            for byte in b"GET /health HTTP/1.1\r\nHost: " + b"x" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass
        assert status_of(read_all(connection) or b"- 408 -") == 408
    assert time.monotonic() - started < 4


def test_200_idle_connections_do_not_lock_others_out(strict):
    idle = [connect(strict.address) for _ in range(200)]
    assert httpx.get(strict.url + "/health").status_code == 200
    for each in idle:
        assert each.recv(1) == b""
        each.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    ],
    ids=lambda value: repr(value[:40]),
)
def test_broken_http_is_a_400_in_the_usual_shape(strict, request_bytes):
    answer = exchange(strict, request_bytes)
    assert status_of(answer) == 400
    assert error_of(answer)["message"] == "This is not valid HTTP."
    assert answer.count(b"HTTP/1.1 ") == 1


def test_garbage_after_a_running_stream_does_not_get_into_it():
    runtime = make_runtime(step_latency_s=0.02)
    with serving(runtime) as server, connect(server.address) as connection:
        body = {"messages": CHAT["messages"], "stream": True}
        connection.sendall(post_bytes("/v1/chat/completions", body))
        read_until(connection, b"data: ")
        connection.sendall(b"garbage\r\n\r\n")
        assert b"HTTP/1.1" not in read_all(connection)
        eventually(lambda: runtime.stats().num_running == 0)


def test_a_refused_client_cannot_upload_forever():
    with serving(make_runtime(), api_keys=("k",), max_body_bytes=100_000) as server:
        with connect(server.address) as connection, pytest.raises(OSError):
            head = b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                connection.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        eventually(lambda: server.num_connections == 0)


def test_a_small_body_that_is_refused_keeps_the_connection():
    with serving(make_runtime(), api_keys=("k",)) as server, httpx.Client(base_url=server.url) as client:
        for _ in range(3):
            assert client.post("/tokenize", json={"prompt": "x" * 50_000}).status_code == 401
        assert server.num_connections == 1


def test_pipelined_requests_are_answered_in_order(strict):
    one = post_bytes("/v1/chat/completions", CHAT)
    with connect(strict.address) as connection:
        connection.sendall(one + one + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.index(b"chat.completion") < answer.index(b'"ready"')


def test_expect_continue_is_answered_only_for_a_body_that_is_wanted(strict):
    request = post_bytes("/v1/chat/completions", CHAT, "Expect: 100-continue\r\nConnection: close\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    with connect(strict.address) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert status_of(read_until(connection, b"\r\n\r\n")) == 100
        connection.sendall(body)
        assert status_of(read_all(connection)) == 200
    big = head.replace(f"Content-Length: {len(body)}".encode(), b"Content-Length: 999999")
    assert status_of(exchange(strict, big + b"\r\n\r\n")) == 413


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for(strict, protocol):
    head = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    with connect(strict.address) as connection:
        connection.sendall(head.encode())
        assert status_of(read_until(connection, b"letters")) == 200
