"""The real vocabularies of ../shared give exactly the ids that llama.cpp and transformers give."""

import json

import pytest
from text_cases import SHARED, load_shared, needs_shared

from fairway.text.detokenizer import Detokenizer

pytestmark = needs_shared

GGUF = ["llama-spm", "llama-bpe", "phi-3", "gpt-2", "qwen2", "bert-bge"]
SAME_VOCABULARY = {"qwen3": "qwen2", "phi-3": "phi-3", "bert-uncased": "bert-bge"}
TINY_MODELS = ["stories260k", "babyllama"]


def vectors(name: str) -> list[tuple[str, list[int]]]:
    stem = SHARED / "tokenizers" / f"ggml-vocab-{name}.gguf"
    texts = stem.with_name(stem.name + ".inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    lines = stem.with_name(stem.name + ".out").read_text("utf-8").split("\n")
    assert len(texts) == len(lines) == 47
    return [(text, [int(number) for number in line.split()]) for text, line in zip(texts, lines, strict=True)]


@pytest.mark.parametrize("name", GGUF)
def test_gguf_vocabulary_gives_the_ids_of_its_vectors(name: str) -> None:
    tokenizer = load_shared(f"tokenizers/ggml-vocab-{name}.gguf")
    for text, ids in vectors(name):
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text
        if name != "bert-bge":
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("folder", SAME_VOCABULARY)
def test_hugging_face_folder_gives_the_ids_of_the_same_vectors(folder: str) -> None:
    tokenizer = load_shared(f"tokenizers/{folder}")
    for text, ids in vectors(SAME_VOCABULARY[folder]):
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text


@pytest.mark.parametrize("name", TINY_MODELS)
@pytest.mark.parametrize("container", ["folder", "gguf"])
def test_tiny_models_speak_their_golden_text(name: str, container: str) -> None:
    suffix = f"/{name}-f32.gguf" if container == "gguf" else ""
    tokenizer = load_shared(f"models/{name}{suffix}")
    golden = json.loads((SHARED / "models" / name / "golden.json").read_text("utf-8"))
    prompt_ids, ids = golden["prompt_ids"], golden["greedy_ids"]
    assert tokenizer.encode(golden["prompt"]) == prompt_ids
    assert tokenizer.decode(ids) == golden["greedy_text"]
    stream = Detokenizer(tokenizer, prompt_ids)
    answer = "".join(stream.push(token_id) for token_id in ids[len(prompt_ids) :]) + stream.flush()
    assert golden["prompt"] + answer == golden["greedy_text"]


@pytest.mark.parametrize(
    ("gguf", "folder"),
    [
        ("tokenizers/ggml-vocab-phi-3.gguf", "tokenizers/phi-3"),
        ("tokenizers/ggml-vocab-qwen2.gguf", "tokenizers/qwen3"),
        ("tokenizers/ggml-vocab-bert-bge.gguf", "tokenizers/bert-uncased"),
        ("models/stories260k/stories260k-f32.gguf", "models/stories260k"),
        ("models/babyllama/babyllama-f32.gguf", "models/babyllama"),
    ],
)
def test_gguf_and_folder_agree_on_a_book(gguf: str, folder: str) -> None:
    text = (SHARED / "text" / "tinyshakespeare.txt").read_text("utf-8")[:30_000]
    text += "\n中文字符 naïve 😀\u200d🌫️  \t 日本語 12345\x00" * 20
    one, other = load_shared(gguf), load_shared(folder)
    ids = one.encode(text, add_special_tokens=False)
    assert ids == other.encode(text, add_special_tokens=False)
    assert one.decode(ids) == other.decode(ids)


def test_phi3_role_markers_eat_the_white_space_behind_them() -> None:
    text = "<|user|>\nHi<|end|>\n<|assistant|>\n Hello"
    gguf, folder = load_shared("tokenizers/ggml-vocab-phi-3.gguf"), load_shared("tokenizers/phi-3")
    assert gguf.encode(text) == folder.encode(text)
