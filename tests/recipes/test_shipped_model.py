"""The folder inside the package: small enough, complete, and its pieces agree."""

import json
from pathlib import Path

import jinja2
import pytest
from tokenizers import Tokenizer

FOLDER = Path(__file__).parents[2] / "src" / "fairway" / "builtin"
CHAT = [{"role": "user", "content": "Tell me a story."}]


def read(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def test_everything_together_is_at_most_12_mb():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) <= 12_000_000


def test_weights_have_the_shapes_of_the_config():
    config = read("config.json")
    with (FOLDER / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    assert {entry["dtype"] for entry in tensors.values()} == {"BF16"}
    assert tensors["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    assert sum("q_proj" in name for name in tensors) == config["num_hidden_layers"]
    assert config["num_key_value_heads"] < config["num_attention_heads"]
    assert config["max_position_embeddings"] >= 1024


def test_vocabulary_and_stop_tokens_agree(tokenizer):
    config = read("config.json")
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert config["eos_token_id"] == [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("</s>")]
    assert read("generation_config.json")["eos_token_id"] == config["eos_token_id"]


def test_rendered_chat_has_its_markers_as_single_tokens(tokenizer):
    template = jinja2.Template(read("tokenizer_config.json")["chat_template"])
    text = template.render(messages=CHAT, bos_token="<s>", add_generation_prompt=True)
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    assert tokens[:2] == ["<s>", "<|user|>"]
    assert tokens[-2:] == ["<|end|>", "<|assistant|>"]


@pytest.mark.parametrize("text", ["", "  two", "a\r\nb\t\n", "naïve 😀 中文", "1984 -- don't "])
def test_tokenizer_round_trip(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
