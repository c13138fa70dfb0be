"""With keys set, every route needs one but /health and the files of the page."""

import re
from http.client import HTTPConnection

import httpx
import openai
import pytest
from serving import serving
from stack import make_runtime

from fairway.errors import SettingsError
from fairway.server.pages import Page
from fairway.server.settings import ServerSettings, load_keys

KEYS = ("first-key", "second-key")
PAGES = (Page("/", b"<p>hello", "text/html"), Page("/app.js", b"1", "text/javascript"))
OPEN = {"/health", "/", "/app.js"}


@pytest.fixture(scope="module")
def locked():
    with serving(make_runtime(), pages=PAGES, api_keys=KEYS) as server:
        yield server


def routes_of(app):
    for route in app.routes:
        path = re.sub(r"\{[^}]*\}", "letters", route.path)
        for method in route.methods:
            yield method, path


def test_every_route_but_the_open_ones_needs_a_key(locked):
    seen = set()
    for method, path in routes_of(locked.app):
        answer = httpx.request(method, locked.url + path)
        assert (answer.status_code == 401) == (path not in OPEN), (method, path)
        seen.add(path)
    assert seen > OPEN | {"/metrics", "/openapi.json", "/v1/models", "/v1/chat/completions", "/tokenize"}


@pytest.mark.parametrize(
    "path", ["/nothing", "/health/", "//health", "/HEALTH", "/health%2f", "/x/../health"]
)
def test_paths_that_only_look_open_need_a_key(locked, path):
    connection = HTTPConnection(locked.address.host, locked.address.port)
    connection.request("GET", path)
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["Authorization: Bearer {}", "authorization: bearer {}", "x-api-key: {}"])
def test_each_key_opens_in_each_form(locked, key, form):
    name, _, value = form.format(key).partition(": ")
    assert httpx.get(locked.url + "/v1/models", headers={name: value}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic first-key"},
        {"authorization": "first-key"},
        {"authorization": "Bearer first-key second-key"},
        {"x-api-key": "first-ke"},
        {"x-api-key": "first-key,second-key"},
        {"x-api-key": b"\xff\xfe"},
    ],
    ids=str,
)
def test_anything_else_is_refused_without_an_echo(locked, headers):
    answer = httpx.get(locked.url + "/v1/models", headers=headers)
    error = answer.json()["error"]
    assert answer.status_code == 401
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "first" not in error["message"]


def test_the_official_client(locked):
    with openai.OpenAI(base_url=locked.url + "/v1", api_key="second-key", max_retries=0) as client:
        assert [each.id for each in client.models.list()] == ["letters"]
    with (
        openai.OpenAI(base_url=locked.url + "/v1", api_key="other", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_keys_come_from_a_file_too(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# team\nalpha\n\n  beta  \nalpha\n", "utf-8")
    settings = ServerSettings(api_keys=("gamma",), api_key_file=str(path))
    assert load_keys(settings) == ("gamma", "alpha", "beta")


@pytest.mark.parametrize("content", ["# nothing\n", "has space\n", "ünï\n", b"\xff\xfe"])
def test_a_key_file_without_usable_keys_is_an_error(tmp_path, content):
    path = tmp_path / "keys"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError):
        load_keys(ServerSettings(api_key_file=str(path)))


def test_a_missing_key_file_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_keys(ServerSettings(api_key_file=str(tmp_path / "none")))


def test_keys_do_not_appear_in_a_repr():
    assert "first-key" not in repr(ServerSettings(api_keys=KEYS))
