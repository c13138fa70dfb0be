"""The lines a user copies: they are run, not only printed."""

import json
import shlex

import pytest

from fairway.cli.addresses import Addresses


@pytest.mark.parametrize(("chat", "path"), [(True, "/v1/chat/completions"), (False, "/v1/completions")])
def test_the_curl_line_is_a_valid_request(chat, path):
    words = shlex.split(Addresses("http://127.0.0.1:8000", "it's a model", chat, False).curl)
    assert words[:2] == ["curl", f"http://127.0.0.1:8000{path}"]
    body = json.loads(words[words.index("-d") + 1])
    assert body["model"] == "it's a model" and body["max_tokens"] == 64
    assert ("messages" in body) is chat


def test_a_key_is_named_and_never_printed():
    addresses = Addresses("http://x:1", "m", True, True)
    assert "$OPENAI_API_KEY" in addresses.curl and "api_key" not in "".join(addresses.python)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("key", [True, False])
def test_the_python_lines_are_python(chat, key):
    lines = Addresses("http://x:1", 'a "b"', chat, key).python
    compile("\n".join(lines), "<lines>", "exec")
    assert len(lines) == 3


def test_lines_and_json_say_the_same():
    addresses = Addresses("http://x:1", "m", True, False)
    data = addresses.to_dict()
    assert [text for _, text in addresses.lines()] == [data["page"], data["curl"], *data["python"]]
