"""Ports, exposure, and how a server stops: drained, then ended, then gone."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from raw_http import connect, eventually, post_bytes, read_all, read_until
from serving import serving
from stack import make_runtime

from fairway.errors import SettingsError
from fairway.server.listening import Address, listen
from fairway.server.settings import FIRST_PORT, ServerSettings

CHAT = {"messages": [{"role": "user", "content": "x"}]}


def test_a_taken_port_is_passed_over_when_none_was_asked_for():
    first, one = listen(ServerSettings())
    second, two = listen(ServerSettings())
    assert FIRST_PORT <= one.port < two.port
    first.close()
    second.close()


def test_a_taken_port_that_was_asked_for_is_one_clear_error():
    taken, address = listen(ServerSettings(port=0))
    with pytest.raises(SettingsError, match=f"Port {address.port} on 127.0.0.1 is taken."):
        listen(ServerSettings(port=address.port))
    taken.close()


def test_an_address_that_does_not_exist_is_one_clear_error():
    with pytest.raises(SettingsError, match="There is no address"):
        listen(ServerSettings(host="no such host", port=0))
    with pytest.raises(SettingsError, match="cannot listen"):
        listen(ServerSettings(host="203.0.113.7", port=0, allow_no_auth=True))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "203.0.113.7"])
def test_listening_beyond_this_machine_needs_a_key(host):
    with pytest.raises(SettingsError, match="without an API key") as caught:
        listen(ServerSettings(host=host, port=0))
    assert "--allow-no-auth" in str(caught.value)


@pytest.mark.parametrize("settings", [{"allow_no_auth": True}, {"api_keys": ("k",)}], ids=str)
def test_listening_beyond_this_machine_with_a_key_or_on_purpose(settings):
    opened, address = listen(ServerSettings(host="0.0.0.0", port=0, **settings))
    assert address.url == f"http://127.0.0.1:{address.port}"
    opened.close()


def test_addresses_can_be_opened():
    assert Address("::1", 80).url == "http://[::1]:80"
    assert Address("127.0.0.1", 80).url == "http://127.0.0.1:80"


def test_running_answers_end_before_the_server_does():
    with serving(make_runtime(step_latency_s=0.02)) as server, connect(server.address) as connection:
        connection.sendall(post_bytes("/v1/chat/completions", CHAT | {"stream": True, "max_tokens": 30}))
        read_until(connection, b"data: ")
        server.stop()
        rest = read_all(connection)
        assert b'"finish_reason":"length"' in rest
        assert rest.rstrip().endswith(b"0")
        assert b"[DONE]" in rest


def test_while_it_drains_new_answers_are_refused():
    with serving(make_runtime(step_latency_s=0.02)) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/health").json() == {"status": "ready"}
        server.app.state.services.drain.stop()
        refused = client.post("/v1/chat/completions", json=CHAT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert "stopping" in refused.json()["error"]["message"]
        health = client.get("/health")
        assert (health.status_code, health.json()["error"]["code"]) == (503, "overloaded")
        assert int(health.headers["retry-after"]) >= 1


@pytest.mark.parametrize("stream", [True, False])
def test_answers_that_take_too_long_are_ended_with_words(stream):
    runtime = make_runtime(step_latency_s=0.05)
    with serving(runtime, drain_s=0.3) as server, connect(server.address) as connection:
        connection.sendall(post_bytes("/v1/chat/completions", CHAT | {"stream": stream}))
        time.sleep(0.3)
        started = time.monotonic()
        server.stop()
        rest = read_all(connection)
        assert time.monotonic() - started < 3
    assert b"The server is stopping." in rest
    if stream:
        assert b"data: [DONE]" in rest
    else:
        assert rest.startswith(b"HTTP/1.1 503")


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from stack import make_runtime
from fairway.server.app import create_app
from fairway.server.model_table import ModelTable
from fairway.server.run import serve
from fairway.server.settings import ServerSettings

runtime = make_runtime(step_latency_s=0.02)
app = create_app(ModelTable({{"letters": runtime}}), ServerSettings(port=0))
serve(app, on_ready=lambda address: print(address.port, flush=True))
runtime.close()
print("closed", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_returns_to_the_caller(number):
    script = SCRIPT.format(folder=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(post_bytes("/v1/chat/completions", CHAT | {"stream": True, "max_tokens": 20}))
        read_until(connection, b"data: ")
        process.send_signal(number)
        assert b'"finish_reason":"length"' in read_all(connection)
    out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("closed\n", "", 0)


def test_a_server_leaves_no_thread_behind():
    before = threading.active_count()
    with serving(make_runtime()) as server:
        httpx.post(server.url + "/v1/chat/completions", json=CHAT | {"max_tokens": 1})
    eventually(lambda: threading.active_count() <= before + 2)
