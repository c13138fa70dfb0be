"""Metadata to config: one small header per family, as llama.cpp's conversion writes it."""

import math

import numpy as np
import pytest

from fairway.errors import FormatError
from fairway.formats.bundle import TensorInfo
from fairway.formats.gguf_config import config_from_gguf
from fairway.formats.gguf_keys import Keys, shortest
from fairway.formats.gguf_rope import llama3_divisors

SIZES = {
    "block_count": 12,
    "embedding_length": 64,
    "attention.head_count": 8,
    "attention.head_count_kv": 4,
    "feed_forward_length": 172,
    "context_length": 512,
    "attention.layer_norm_rms_epsilon": float(np.float32(1e-5)),
    "rope.freq_base": 500000.0,
    "rope.dimension_count": 8,
}
COMMON = {
    "num_hidden_layers": 12,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 172,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "head_dim": 8,
    "rope_scaling": None,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}


def config_of(architecture, keys=None, tensors=(), factors=None, drop=()):
    values = {key: value for key, value in (SIZES | (keys or {})).items() if key not in drop}
    metadata = {
        f"{architecture}.{key}": value for key, value in values.items() if "." not in key or key[0] != "/"
    }
    metadata |= {key[1:]: value for key, value in (keys or {}).items() if key[0] == "/"}
    infos = {name: TensorInfo(name, "F32", (100, 64), 25600) for name in ("token_embd.weight", *tensors)}
    return config_from_gguf(Keys("model.gguf", metadata, architecture), infos, factors or {})


@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "granite", "olmo2", "phi3", "gemma2", "gemma3"]
)
def test_common_keys_of_every_family(architecture):
    config = config_of(architecture)
    assert {key: config[key] for key in COMMON} == COMMON
    assert config["model_type"] == {"gemma3": "gemma3_text"}.get(architecture, architecture)
    assert config["architectures"][0].endswith("ForCausalLM")


def test_float32_values_become_the_decimals_they_meant():
    assert shortest(float(np.float32(1e-6))) == 1e-6
    assert config_of("llama", {"rope.freq_base": float(np.float32(1e7))})["rope_theta"] == 1e7


def test_output_tensor_means_untied():
    assert config_of("llama")["tie_word_embeddings"] is True
    assert config_of("llama", tensors=["output.weight"])["tie_word_embeddings"] is False


def test_defaults_that_llama_cpp_assumes_silently():
    config = config_of("llama", drop=("rope.freq_base", "attention.head_count_kv", "rope.dimension_count"))
    assert config["rope_theta"] == 10000.0
    assert config["num_key_value_heads"] == 8
    assert config["head_dim"] == 8


def test_key_length_is_the_head_dimension():
    config = config_of("qwen3", {"attention.key_length": 128, "rope.dimension_count": 128})
    assert config["head_dim"] == 128
    assert "partial_rotary_factor" not in config


def test_a_list_of_equal_values_counts_as_one():
    assert config_of("llama", {"attention.head_count_kv": [4] * 12})["num_key_value_heads"] == 4


def test_different_heads_per_layer_are_refused():
    with pytest.raises(FormatError, match=r"llama.attention.head_count_kv of model.gguf is '\[4, 2\]'"):
        config_of("llama", {"attention.head_count_kv": [4, 2]})


@pytest.mark.parametrize("value", ["twelve", -1, 1.5, True, 1 << 40])
def test_a_size_that_is_no_size_names_its_key(value):
    with pytest.raises(FormatError, match=r"llama.block_count of model.gguf"):
        config_of("llama", {"block_count": value})


def test_vocabulary_comes_from_the_embedding_then_the_key_then_the_tokens():
    no_tensors = Keys("m", {"llama.vocab_size": 7, "tokenizer.ggml.tokens": ["a"]}, "llama")
    assert config_from_gguf(no_tensors, {}, {})["vocab_size"] == 7
    only_tokens = Keys("m", {"tokenizer.ggml.tokens": ["a", "b"]}, "llama")
    assert config_from_gguf(only_tokens, {}, {})["vocab_size"] == 2


def test_llama_biases_are_told_by_their_tensors():
    assert config_of("llama")["attention_bias"] is False
    config = config_of("llama", tensors=["blk.0.attn_q.bias", "blk.0.ffn_up.bias"])
    assert (config["attention_bias"], config["mlp_bias"]) == (True, True)


def test_granite_multipliers():
    scales = {
        "attention.scale": 0.015625,
        "embedding_scale": 12.0,
        "residual_scale": 0.25,
        "logit_scale": 8.0,
    }
    config = config_of("granite", scales)
    assert config["attention_multiplier"] == 0.015625
    assert config["embedding_multiplier"] == 12.0
    assert config["residual_multiplier"] == 0.25
    assert config["logits_scaling"] == 8.0


def test_gemma2_windows_caps_and_scale():
    keys = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "attention.key_length": 256}
    config = config_of("gemma2", keys)
    assert (config["attn_logit_softcapping"], config["final_logit_softcapping"]) == (50.0, 30.0)
    assert config["sliding_window"] == 4096
    assert config["layer_types"][:3] == ["sliding_attention", "full_attention", "sliding_attention"]
    assert config["query_pre_attn_scalar"] == 256
    assert config["hidden_activation"] == "gelu_pytorch_tanh"


@pytest.mark.parametrize(
    ("architecture", "layers", "scalar"), [("gemma2", 46, 8), ("gemma3", 62, 8), ("gemma3", 34, 256)]
)
def test_only_the_27_billion_gemmas_scale_by_their_width(architecture, layers, scalar):
    keys = {"block_count": layers, "attention.key_length": 256}
    assert config_of(architecture, keys)["query_pre_attn_scalar"] == scalar


def test_gemma3_has_two_ropes_and_a_full_layer_every_sixth():
    keys = {"attention.sliding_window": 512, "rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
    config = config_of("gemma3", keys)
    assert config["rope_local_base_freq"] == 10000.0
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert [i for i, kind in enumerate(config["layer_types"]) if kind == "full_attention"] == [5, 11]
    assert config["sliding_window"] == 512


def test_listed_layers_win_over_the_usual_pattern():
    listed = [True] * 11 + [False]
    config = config_of(
        "gemma3", {"attention.sliding_window": 512, "attention.sliding_window_pattern": listed}
    )
    assert config["layer_types"].count("full_attention") == 1


def test_phi3_longrope_and_partial_rotation():
    short, long = [1.0, 1.1], [2.0, 3.0]
    factors = {"rope_factors_short.weight": short, "rope_factors_long.weight": long}
    attention = float(np.float32(math.sqrt(1 + math.log(4) / math.log(128))))
    keys = {
        "rope.scaling.original_context_length": 128,
        "rope.scaling.attn_factor": attention,
        "rope.dimension_count": 4,
    }
    config = config_of("phi3", keys | {"attention.sliding_window": 0}, factors=factors)
    scaling = {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "original_max_position_embeddings": 128,
    }
    assert config["rope_scaling"] == scaling
    assert config["original_max_position_embeddings"] == 128
    assert config["partial_rotary_factor"] == 0.5
    assert config["sliding_window"] is None


def test_phi3_attention_factor_is_kept_where_it_is_not_the_usual_one():
    factors = {"rope_factors_short.weight": [1.0], "rope_factors_long.weight": [2.0]}
    keys = {"rope.scaling.original_context_length": 128, "rope.scaling.attn_factor": 1.25}
    assert config_of("phi3", keys, factors=factors)["rope_scaling"]["attention_factor"] == 1.25


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_scaling_is_recovered_from_its_divisors(factor):
    divisors = np.array(llama3_divisors(500000.0, 128, factor), np.float32).tolist()
    keys = {"rope.dimension_count": 128, "attention.key_length": 128}
    scaling = config_of("llama", keys, factors={"rope_freqs.weight": divisors})["rope_scaling"]
    assert scaling == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def test_llama3_divisors_are_those_of_the_paper_model():
    """Llama 3.1: the fastest frequencies are kept, the slowest divided by 8, in between blended."""
    divisors = llama3_divisors(500000.0, 128, 8.0)
    assert divisors[0] == 1.0
    assert divisors[-1] == 8.0
    assert divisors == sorted(divisors)
    assert 1.0 < divisors[32] < 8.0


def test_other_divisors_are_handed_over_as_they_are():
    divisors = [1.0, 1.5, 2.5, 7.0]
    scaling = config_of("llama", factors={"rope_freqs.weight": divisors})["rope_scaling"]
    assert scaling == {
        "rope_type": "longrope",
        "short_factor": divisors,
        "long_factor": divisors,
        "attention_factor": 1.0,
    }


def test_divisors_of_one_scale_nothing():
    assert config_of("llama", factors={"rope_freqs.weight": [1.0] * 4})["rope_scaling"] is None


def test_yarn_keys():
    keys = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 32768,
    }
    scaling = config_of("qwen2", keys)["rope_scaling"]
    assert scaling == {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def test_gpt2_has_its_own_spelling():
    keys = {"attention.layer_norm_epsilon": float(np.float32(1e-5))}
    config = config_of("gpt2", keys, drop=("rope.freq_base", "attention.head_count_kv"))
    assert (config["n_embd"], config["n_layer"], config["n_head"], config["n_positions"]) == (64, 12, 8, 512)
    assert config["layer_norm_epsilon"] == 1e-5
    assert config["activation_function"] == "gelu_new"
    assert "rope_theta" not in config


def test_token_ids_are_copied_if_they_are_ids():
    config = config_of("llama", {"/tokenizer.ggml.eos_token_id": 2, "/tokenizer.ggml.bos_token_id": "one"})
    assert config["eos_token_id"] == 2
    assert "bos_token_id" not in config


def test_an_unknown_architecture_is_described_as_far_as_its_keys_go():
    config = config_of("mamba")
    assert (config["model_type"], config["hidden_size"]) == ("mamba", 64)
