"""Real llama.cpp reads our GGUF files: the same token ids, and the same greedy tokens as our own engine.

Runs where FAIRWAY_LLAMA_CPP names a folder with llama-server and llama-tokenize.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from model_cases import CASES
from model_folders import LLAMA, converted, make_folder
from random_adapters import random_adapter
from tiny_models import Session

from fairway.formats.lora_gguf import write_gguf_adapter
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.kernels.reference import ReferenceBackend
from fairway.models.loader import load_model
from fairway.quantize.mixes import MIXES
from fairway.text.loader import load_tokenizer

BINARIES = Path(os.environ.get("FAIRWAY_LLAMA_CPP", "/nowhere"))
pytestmark = pytest.mark.skipif(
    not (BINARIES / "llama-server").exists(), reason="FAIRWAY_LLAMA_CPP is not set"
)

OWN = {"vocab_size": 402, "bos_token_id": 400, "eos_token_id": 401, "pad_token_id": None}
OTHERWISE_IN_LLAMA_CPP = {
    "llama-rope-dynamic", "mistral-window", "qwen2-upper-window", "qwen3-tied-bias", "olmo2-bias",
    "gpt2-untied", "gemma2-no-caps", "gemma3-multimodal", "gemma3-text-layer-types",
}  # fmt: skip
"""Refused, or limited to a context that is too short for this test; see test_to_gguf.py."""
AS_LLAMA_CPP_HAS_IT = {
    "phi3-window": {"sliding_window": 64},
    "gemma2-soft-caps": {"query_pre_attn_scalar": CASES["gemma2-soft-caps"]["head_dim"]},
    "gemma3-text-pattern": {"query_pre_attn_scalar": CASES["gemma3-text-pattern"]["head_dim"]},
}
FAMILIES = {
    name: config | AS_LLAMA_CPP_HAS_IT.get(name, {})
    for name, config in CASES.items()
    if name not in OTHERWISE_IN_LLAMA_CPP
}
PROMPT = [400, 17, 42, 5, 105, 61, 29, 8, 133, 50, 12, 4]
NUM_TOKENS = 24


@contextmanager
def server(model: Path, *more: str):
    """llama-server on a free port; gives a function that asks it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [BINARIES / "llama-server", "-m", model, "--port", str(port), "-t", "2", "-c", "64", "-np", "1"]
    command += ["--no-warmup", "-fa", "off", "--cache-type-k", "f32", "--cache-type-v", "f32", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:

        def ask(path: str, body: dict) -> dict:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError):
                    assert process.poll() is None, process.stdout.read().decode()[-3000:]
                    time.sleep(0.05)
            yield ask
        finally:
            process.terminate()


def our_tokens(path: Path, prompt: list[int], count: int) -> list[int]:
    session = Session(load_model(open_bundle(path, complete=False), ReferenceBackend()))
    logits, tokens = session.feed(prompt)[-1], []
    for _ in range(count):
        logits[OWN["eos_token_id"]] = -np.inf  # the server is told to go on
        tokens.append(int(np.argmax(logits)))
        logits = session.feed(tokens[-1:])[-1]
    return tokens


def their_tokens(ask, prompt: list[int], count: int) -> list[int]:
    body = {"prompt": prompt, "n_predict": count, "temperature": 0, "return_tokens": True, "ignore_eos": True}
    return ask("/completion", body | {"samplers": ["top_k"], "top_k": 1, "repeat_penalty": 1.0})["tokens"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_speaks_alike(name, tmp_path):
    source = make_folder(tmp_path / "model", FAMILIES[name] | OWN)
    converted(source, "gguf", tmp_path / "model.gguf")
    with server(tmp_path / "model.gguf") as ask:
        theirs = their_tokens(ask, PROMPT, NUM_TOKENS)
    assert theirs == our_tokens(source, PROMPT, NUM_TOKENS)
    assert theirs == our_tokens(tmp_path / "model.gguf", PROMPT, NUM_TOKENS)


@pytest.mark.parametrize("kind", MIXES)
def test_every_type_is_read(tmp_path, kind):
    config = LLAMA | {"hidden_size": 256, "intermediate_size": 512}
    source = make_folder(tmp_path / "model", config)
    converted(source, "gguf", tmp_path / "model.gguf", type=kind)
    with server(tmp_path / "model.gguf") as ask:
        theirs = their_tokens(ask, PROMPT, 8)
    assert len(theirs) == 8


STRINGS = [
    "The fair wind",
    " carried\n\n the 123 boats",
    "naïve — 日本語",
    "<|im_end|> as text",
    "\t x\u200d😀",
]


@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
def test_token_ids_are_the_same(tmp_path, vocabulary):
    source = make_folder(tmp_path / "model", vocabulary=vocabulary)
    converted(source, "gguf", tmp_path / "model.gguf")
    tokenizer = load_tokenizer(open_bundle(source).tokenizer)
    with server(tmp_path / "model.gguf") as ask:
        for text in STRINGS:
            body = {"content": text, "add_special": True, "parse_special": True}
            assert ask("/tokenize", body)["tokens"] == tokenizer.encode(text), text


def test_word_pieces_are_the_same(shared, tmp_path):
    """llama.cpp reads a decoder with BERT's tokenizer, although nobody trains such."""
    source = make_folder(tmp_path / "model", LLAMA | {"vocab_size": 30522})
    ids = {"bos_token_id": 101, "eos_token_id": 102}
    (source / "config.json").write_text(json.dumps(LLAMA | {"vocab_size": 30522} | ids))
    (source / "generation_config.json").unlink()
    for path in (shared / "tokenizers" / "bert-uncased").glob("*.json"):
        (source / path.name).write_bytes(path.read_bytes())
    converted(source, "gguf", tmp_path / "model.gguf")
    tokenizer = load_tokenizer(open_bundle(source).tokenizer)
    with server(tmp_path / "model.gguf") as ask:
        for text in STRINGS:
            found = ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
            assert found == tokenizer.encode(text), text


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_adapters_are_added_alike(name, tmp_path):
    """Our GGUF adapter on the base in llama.cpp, and the merged model in our engine."""
    [family] = [each for each in sorted(FAMILIES) if each.split("-")[0] == name][:1]
    source = make_folder(tmp_path / "model", FAMILIES[family] | OWN)
    adapter = random_adapter(open_bundle(source))
    write_peft(adapter, tmp_path / "adapter")
    write_gguf_adapter(adapter, tmp_path / "adapter.gguf", open_bundle(source).config)
    converted(source, "gguf", tmp_path / "model.gguf")
    converted(source, "safetensors", tmp_path / "merged", adapters=(tmp_path / "adapter",))
    with server(tmp_path / "model.gguf", "--lora", str(tmp_path / "adapter.gguf")) as ask:
        theirs = their_tokens(ask, PROMPT, NUM_TOKENS)
    assert theirs == our_tokens(tmp_path / "merged", PROMPT, NUM_TOKENS)
    assert theirs != our_tokens(source, PROMPT, NUM_TOKENS)


@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
def test_real_models_continue_as_transformers_does(shared, tmp_path, name):
    golden = json.loads((shared / "models" / name / "golden.json").read_text())
    converted(shared / "models" / name, "gguf", tmp_path / "model.gguf")
    prompt, wanted = golden["prompt_ids"], golden["greedy_ids"][:60]
    with server(tmp_path / "model.gguf") as ask:
        assert ask("/tokenize", {"content": golden["prompt"], "add_special": True})["tokens"] == prompt
        assert prompt + their_tokens(ask, prompt, len(wanted) - len(prompt)) == wanted
