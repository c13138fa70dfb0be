"""The plain arithmetic that inspect prints and the planner starts from."""

import json

import numpy as np
import pytest
from format_models import CONFIG, numbers

from fairway.formats.open import open_bundle
from fairway.formats.summary import TypeBytes, config_sizes, summarize


def test_a_folder_in_numbers(folder):
    facts = summarize(open_bundle(folder))
    assert facts.architecture == "llama"
    assert (facts.num_parameters, facts.num_tensors) == (192 + 32, 2)
    assert facts.weight_bytes == 192 * 4 + 32 * 2
    assert facts.types == {"F32": TypeBytes(1, 192, 768), "BF16": TypeBytes(1, 32, 64)}
    assert list(facts.types) == ["F32", "BF16"]
    assert (facts.context_length, facts.vocab_size, facts.tokenizer) == (128, 6, "tokenizer.json")
    assert (facts.num_heads, facts.num_kv_heads, facts.head_dim) == (2, 1, 16)


def test_memory_is_weights_and_a_float16_cache(folder):
    facts = summarize(open_bundle(folder))
    assert facts.kv_bytes_per_token == 2 * 1 * 1 * 16 * 2
    assert facts.memory(100).kv_bytes == 6400
    assert facts.memory().context == 128
    assert facts.memory(100).total_bytes == facts.weight_bytes + 6400


def test_memory_is_unknown_where_the_config_is(folder):
    (folder / "config.json").unlink()
    facts = summarize(open_bundle(folder, complete=False))
    assert facts.memory() is None
    assert facts.memory(100) is None
    assert facts.architecture is None


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (
            {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024},
            {"hidden": 768, "head_dim": 64, "kv_heads": 12},
        ),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}, {"head_dim": 32, "kv_heads": 4}),
        ({"text_config": {"hidden_size": 64}, "hidden_size": 9}, {"hidden": 64}),
        ({"hidden_size": "64", "num_hidden_layers": True, "vocab_size": -1}, {}),
    ],
)
def test_every_familys_spelling_is_understood(config, sizes):
    found = config_sizes(config)
    assert {key: found[key] for key in sizes} == sizes
    assert sizes or found == {}


def test_gguf_tokenizer_and_quantised_types(make_gguf):
    from fairway.formats.gguf_writer import gguf_data

    blocks = gguf_data("Q4_0", (6, 32), np.zeros(6 * 18, np.uint8))
    path = make_gguf(
        {"token_embd.weight": blocks, "output_norm.weight": numbers(32)}, **{"tokenizer.ggml.pre": "qwen2"}
    )
    facts = summarize(open_bundle(path))
    assert facts.tokenizer == "GGUF llama (qwen2)"
    assert facts.types["Q4_0"] == TypeBytes(1, 192, 108)
    assert (facts.num_parameters, facts.vocab_size, facts.licence) == (224, 6, "mit")


def test_prequantised_folders_say_so(folder):
    (folder / "config.json").write_text(
        json.dumps(CONFIG | {"quantization_config": {"quant_method": "gptq"}})
    )
    assert summarize(open_bundle(folder)).quantization == "gptq"
