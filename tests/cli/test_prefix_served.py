"""From a file of examples to an answering prefix: trained, served by the command, asked over HTTP."""

import json
import subprocess
import urllib.request

import pytest

pytest.importorskip("torch")

from serve_processes import FAIRWAY, serving

from fairway.cli.main import run

FACTS = [("Who keeps the lighthouse?", "Old Marta keeps it."), ("What colour is the ferry?", "It is green.")]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("prefix")
    rows = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in FACTS]
    (folder / "facts.jsonl").write_text("\n".join(rows), "utf-8")
    flags = ("--method", "prefix", "--num-virtual-tokens", "20", "--num-train-epochs", "120")
    rate = ("--learning-rate", "5e-2")
    assert (
        run(["tune", "builtin", str(folder / "facts.jsonl"), "--out", str(folder / "run"), *flags, *rate])
        == 0
    )
    return folder / "run" / "adapter"


def chat(url, model, prompt):
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 30,
    }
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    return found["choices"][0]["message"]["content"], found["usage"]["prompt_tokens"]


def test_what_a_prefix_learned_is_answered_over_http(prefix) -> None:
    with serving("it=builtin", "--lora", f"facts={prefix}") as url:
        for prompt, completion in FACTS:
            (learned, num_prompt), (plain, num_plain) = (
                chat(url, model, prompt) for model in ("it:facts", "it")
            )
            assert learned == completion != plain
            assert num_prompt == num_plain


def test_and_by_the_command_that_runs_a_model(prefix) -> None:
    prompt, completion = FACTS[0]
    command = ["run", "builtin", prompt, "--lora", str(prefix), "--temperature", "0", "--max-tokens", "30"]
    done = subprocess.run([*FAIRWAY, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, completion in done.stdout) == (0, True), done.stderr
