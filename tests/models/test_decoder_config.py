"""What a config.json means, and what is refused before any weight is read."""

import pytest
from model_cases import CASES, LLAMA
from tiny_models import memory_bundle

from fairway.errors import FormatError, SettingsError, UnsupportedError
from fairway.kernels.reference import ReferenceBackend
from fairway.models.config import DecoderConfig
from fairway.models.families import MODULES, family, read_config, supported
from fairway.models.loader import load_model, served_context


def llama(**changes) -> DecoderConfig:
    return read_config({**LLAMA, **changes})


def test_every_family_is_importable_and_complete() -> None:
    assert {case["model_type"] for case in CASES.values()} == set(supported())
    for model_type in MODULES:
        module = family(model_type)
        assert callable(module.read)
        assert callable(module.record)


def test_defaults_of_transformers_hold_where_the_config_is_silent() -> None:
    config = read_config({key: LLAMA[key] for key in LLAMA if key not in ("rope_theta", "rms_norm_eps")})
    assert config.norm_eps == 1e-6
    assert config.rope is not None
    assert config.rope.theta == 10_000.0
    assert llama(num_key_value_heads=None).num_kv_heads == 4
    assert llama(head_dim=None).head_size == 8


def test_transformers_5_spelling_of_rope() -> None:
    new = {key: value for key, value in LLAMA.items() if key != "rope_theta"}
    new["rope_parameters"] = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}
    old = {**LLAMA, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}}
    assert read_config(new) == read_config(old)


def test_gemma3_text_config_of_a_published_multimodal_checkpoint() -> None:
    """Such files leave out whatever equals transformers' default."""
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    config = read_config({"model_type": "gemma3", "text_config": text})
    assert (config.vocab_size, config.num_heads, config.num_kv_heads, config.head_size) == (
        262_208,
        8,
        4,
        256,
    )
    assert (config.max_context, config.tied_embeddings) == (131_072, True)
    assert config.windows[:6] == (1024,) * 5 + (None,)
    assert config.ropes[0].theta == 10_000.0
    assert config.ropes[0].type == "default"
    assert (config.ropes[5].theta, config.ropes[5].factor) == (1_000_000.0, 8.0)


def test_longer_contexts_that_a_rope_reaches() -> None:
    assert llama(rope_scaling={"type": "dynamic", "factor": 4.0}).max_context == 512
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
    assert llama(rope_scaling=yarn).max_context == 512
    assert llama(rope_scaling={"type": "linear", "factor": 4.0}).max_context == 128


REFUSED = {
    "bert": ({"model_type": "bert"}, r"'bert' is not supported; this engine runs gemma2, .*qwen3"),
    "mixture of experts": ({"num_local_experts": 8}, "num_local_experts = 8 asks for a mixture of experts"),
    "unknown rope": (
        {"rope_scaling": {"rope_type": "spiral"}},
        "'spiral' is not supported; .* default, linear",
    ),
    "activation": ({"hidden_act": "quick_gelu"}, "'quick_gelu' is not supported; .*silu"),
    "quantised": ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised with bitsandbytes"),
    "classifier": ({"architectures": ["LlamaForSequenceClassification"]}, "'LlamaForSequenceClassification'"),
    "encoder": ({"is_encoder_decoder": True}, "an encoder"),
    "bidirectional": ({"use_bidirectional_attention": True}, "bidirectional attention"),
    "nope layers": ({"no_rope_layers": [1, 0]}, "layers without rotary positions"),
    "cross attention": ({"add_cross_attention": True}, "cross attention"),
    "latent attention": ({"kv_lora_rank": 512}, "latent attention"),
    "layer types": (
        {"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["linear_attention"] * 2},
        "'linear_attention' is not supported",
    ),
    "mixed mistral": (
        {"model_type": "mistral", "layer_types": ["sliding_attention", "full_attention"]},
        "layer_types differ",
    ),
    "other text model": ({"model_type": "gemma3", "text_config": {"model_type": "llama"}}, "type 'llama'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_before_any_weight_is_read(name: str) -> None:
    changes, message = REFUSED[name]
    bundle = memory_bundle({**LLAMA, **changes}, {})
    with pytest.raises(UnsupportedError, match=message):
        load_model(bundle, ReferenceBackend())
    assert bundle.tensors.read_names == []


BROKEN = {
    "no model type": ({"model_type": None}, "model_type is missing"),
    "missing": ({"hidden_size": None}, "hidden_size is missing"),
    "text for a number": ({"hidden_size": "32"}, "hidden_size must be a whole number, not '32'"),
    "true for a number": ({"num_hidden_layers": True}, "num_hidden_layers must be a whole number"),
    "negative": ({"vocab_size": -1}, "vocab_size must be between 1 and"),
    "too many layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers must be between 1 and 1024"),
    "huge head": ({"head_dim": 2**40}, "head_dim must be between"),
    "uneven groups": ({"num_key_value_heads": 3}, "4 heads cannot share 3"),
    "uneven heads": ({"hidden_size": 30}, "hidden_size 30 is not a multiple of 4 heads"),
    "odd head": ({"head_dim": 7}, "7 of 7 values of a head cannot rotate in pairs"),
    "zero eps": ({"rms_norm_eps": 0.0}, "rms_norm_eps must be greater than zero"),
    "infinite theta": ({"rope_theta": float("inf")}, "rope_theta must be a number"),
    "theta of one": ({"rope_theta": 1.0}, "rope_theta must be greater than 1"),
    "flag": ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false"),
    "rope is a list": ({"rope_scaling": [1]}, "rope_scaling must be an object"),
    "no factor": ({"rope_scaling": {"type": "linear"}}, "factor is missing"),
    "short longrope": (
        {
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0],
                "long_factor": [1.0],
                "original_max_position_embeddings": 16,
            }
        },
        "short_factor must hold 4 positive numbers, not 1",
    ),
    "layer count": ({"model_type": "gemma2", "layer_types": ["full_attention"]}, "names 1 of 2 layers"),
    "not names": ({"architectures": [1]}, "architectures must be a list of strings"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_configs_name_the_key(name: str) -> None:
    changes, message = BROKEN[name]
    with pytest.raises(FormatError, match=message):
        read_config({**LLAMA, **changes})


def test_gpt2_heads_must_divide() -> None:
    with pytest.raises(FormatError, match="n_embd 32 is not a multiple of 5 heads"):
        read_config({"model_type": "gpt2", "n_embd": 32, "n_head": 5})
    with pytest.raises(UnsupportedError, match="attention scaled by layer"):
        read_config({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True})


def test_context_to_serve() -> None:
    config = llama()
    assert served_context(config, None) == 128
    assert served_context(config, 64) == 64
    for wanted in (0, -1, 129):
        with pytest.raises(SettingsError, match=rf"context of {wanted} .* 128 positions"):
            served_context(config, wanted)
