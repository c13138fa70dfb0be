"""`fairway up` and `fairway serve` as a user runs them: processes, a real model, real HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fairway.cli.prepare import split_name
from fairway.registry.resolve import BUILTIN_FOLDER

FAIRWAY = [sys.executable, "-m", "fairway.cli.main"]


def fairway(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FAIRWAY, *args], capture_output=True, text=True, timeout=100, env={**os.environ, **environment}
    )


@contextmanager
def serving(*args: str) -> Iterator[tuple[dict, subprocess.Popen[str]]]:
    """A running server, and what it printed as JSON when it was ready."""
    process = subprocess.Popen([*FAIRWAY, *args, "--json", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process
    finally:
        process.kill()
        process.communicate()


def post(url: str, body: dict, **headers: str) -> dict:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def chat(url: str, model: str, **headers: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    return post(f"{url}/v1/chat/completions", body, **headers)["choices"][0]["message"]["content"]


def test_up_without_serving_ends_with_an_answer():
    done = fairway("up", "--no-serve")
    assert done.returncode == 0, done.stderr
    for word in ("model", "weights", "context", "memory", "threads", "Tell me a little story.", "per second"):
        assert word in done.stdout
    for step in ("Found the model", "Prepared the weights", "Checked with a first answer"):
        assert step in done.stderr


def test_up_as_json():
    report = json.loads(fairway("up", "--no-serve", "--json", "--context", "64", "--weights", "int8").stdout)
    assert report["plan"]["context"] == 64 and report["plan"]["weights"] == "int8"
    assert report["answer"]["num_tokens"] > 0 and report["answer"]["text"]


def test_up_serves_and_ends_on_ctrl_c():
    start = time.monotonic()
    with serving("up") as (ready, process):
        assert chat(ready["url"], ready["model"])
        assert time.monotonic() - start < 10  # 3 s on a quiet machine
        with urllib.request.urlopen(ready["page"], timeout=10) as page:
            assert b"<html" in page.read().lower()
        assert ready["curl"].startswith(f"curl {ready['url']}/v1/")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_the_curl_line_of_up_works():
    with serving("up") as (ready, _):
        out = subprocess.run(["bash", "-c", ready["curl"]], capture_output=True, text=True, timeout=30)
        assert json.loads(out.stdout)["usage"]["completion_tokens"] > 0


def test_serve_two_models_under_their_names():
    with serving("serve", "one=builtin", "two=builtin") as (ready, process):
        assert [row["model"] for row in ready["models"]] == ["one", "two"]
        assert chat(ready["url"], "one") and chat(ready["url"], "two")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_key_is_asked_for():
    with serving("serve", "m=builtin", "--api-key", "secret") as (ready, _):
        with pytest.raises(urllib.error.HTTPError) as refused:
            chat(ready["url"], "m")
        assert refused.value.code == 401
        refused.value.close()
        assert chat(ready["url"], "m", Authorization="Bearer secret")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["up", "/no/such/model.gguf"], 2, "There is no file or folder /no/such/model.gguf."),
        (["up", "--context", "99999999"], 2, "is not possible: this model has"),
        (["serve", "builtin", "builtin"], 2, "Two models are named"),
        (["serve", "builtin", "--host", "0.0.0.0"], 2, "without an API key"),
        (["up", "--weights", "int3"], 2, "'int3' is not one of"),
        (["serve"], 2, "Missing argument 'MODEL...'"),
        (["up", "org/name"], 7, "org/name is not on this disk and HF_HUB_OFFLINE is set."),
    ],
)
def test_a_mistake_is_one_sentence(args, code, message, tmp_path):
    done = fairway(*args, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_too_little_memory_is_a_refusal_with_ways_out():
    shell = f"ulimit -v 900000; exec {' '.join(FAIRWAY)} up --no-serve --context 1024 --kv f32"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 5), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "name", "model"),
    [
        (None, None, None),
        ("builtin", None, "builtin"),
        ("chat=builtin", "chat", "builtin"),
        ("chat=org/name:Q4_K_M", "chat", "org/name:Q4_K_M"),
        ("./a=b/c", None, "./a=b/c"),
        ("=x", None, "=x"),
    ],
)
def test_names_for_models(text, name, model):
    assert split_name(text) == (name, model)


def test_the_built_in_model_is_small():
    assert sum(path.stat().st_size for path in BUILTIN_FOLDER.iterdir()) < 13e6
