"""A malicious web page must not be able to use a server on its visitor's machine."""

import httpx
import pytest
from serving import serving
from stack import make_runtime

from fairway.errors import SettingsError
from fairway.server.settings import ServerSettings

CHAT = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def open_server():
    allowed = {"allowed_origins": ("https://app.example.com",), "allowed_hosts": ("ai.example.com",)}
    with serving(make_runtime(), **allowed) as server:
        yield server


def ask(server, **headers):
    return httpx.post(server.url + "/v1/chat/completions", json=CHAT, headers=headers)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:1",
        "http://localhost.evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "null",
        "",
        "file://",
        "http://[::1",
        "chrome-extension://abc",
    ],
)
def test_a_foreign_page_is_refused(open_server, origin):
    answer = ask(open_server, origin=origin)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
    assert "access-control-allow-origin" not in answer.headers


def test_the_server_s_own_page_is_welcome(open_server):
    assert ask(open_server, origin=open_server.url).status_code == 200
    assert ask(open_server, origin="http://localhost:8000", host="localhost:8000").status_code == 200
    assert ask(open_server, origin="https://ai.example.com", host="ai.example.com").status_code == 200


def test_a_program_without_an_origin_is_welcome(open_server):
    assert ask(open_server).status_code == 200


OURS = ["localhost", "localhost:9", "127.0.0.1", "[::1]:8000", "10.1.2.3:80", "api.localhost", "fairway:8000"]


@pytest.mark.parametrize("host", [*OURS, "", "AI.example.com", "ai.example.com:443", "ai.example.com."])
def test_names_that_are_ours(open_server, host):
    assert ask(open_server, host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "evil.localhost.example"],
)
def test_a_rebound_name_is_refused(open_server, host):
    answer = ask(open_server, host=host)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
    # Then its pages would be "same origin", too.
    assert ask(open_server, host=host, origin=f"http://{host}").status_code == 403
    assert httpx.get(open_server.url + "/v1/models", headers={"host": host}).status_code == 403


def test_an_allowed_page_gets_cors_headers(open_server):
    answer = ask(open_server, origin="https://app.example.com")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert answer.headers["vary"] == "Origin"


def test_an_allowed_page_sees_errors_too(open_server):
    answer = httpx.get(open_server.url + "/nothing", headers={"origin": "https://app.example.com"})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"


def preflight(server, origin):
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    return httpx.options(server.url + "/v1/chat/completions", headers=headers)


def test_a_preflight_of_an_allowed_page(open_server):
    answer = preflight(open_server, "https://app.example.com")
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert preflight(open_server, "https://evil.example").status_code == 403


def test_with_keys_names_do_not_matter_and_any_origin_may_be_allowed():
    with serving(make_runtime(), api_keys=("k",), allowed_origins=("*",)) as server:
        assert preflight(server, "https://any.example").status_code == 204
        headers = {"origin": "https://any.example", "host": "models.example.com", "x-api-key": "k"}
        assert ask(server, **headers).headers["access-control-allow-origin"] == "https://any.example"
        refused = ask(server, origin="https://any.example")
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
            401,
            "https://any.example",
        )


def test_a_wildcard_without_keys_is_refused():
    with pytest.raises(SettingsError, match="every web page"):
        ServerSettings(allowed_origins=("*",))
