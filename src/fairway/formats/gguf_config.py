"""A GGUF file's metadata as the config.json that Hugging Face would have.

A table of keys, then one small function per family for what only that family has. Knows no
tensor values except the rope factors. Rule: what llama.cpp assumes silently is written out here.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's conversion scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.formats.bundle import TensorInfo
from fairway.formats.gguf_keys import Keys
from fairway.formats.gguf_rope import rope_scaling

MODEL_TYPES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "phi3": ("phi3", "Phi3ForCausalLM"),
    "granite": ("granite", "GraniteForCausalLM"),
    "olmo2": ("olmo2", "Olmo2ForCausalLM"),
    "gpt2": ("gpt2", "GPT2LMHeadModel"),
}
"""general.architecture -> model_type and class name."""

INTEGERS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "num_local_experts": "expert_count",
}
NUMBERS = {
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
    "rope_theta": "rope.freq_base",
}
GPT2_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
}
TOKEN_IDS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}


@dataclass(frozen=True)
class Model:
    """What a family's function looks at, and the config that it completes."""

    config: dict[str, Any]
    keys: Keys
    tensors: Mapping[str, TensorInfo]


def config_from_gguf(
    keys: Keys, tensors: Mapping[str, TensorInfo], rope_factors: Mapping[str, list[float]]
) -> dict[str, Any]:
    """`tensors` by GGUF name; `rope_factors` holds the values of the rope tensors that exist."""
    model_type, class_name = MODEL_TYPES.get(keys.architecture, (keys.architecture, None))
    config: dict[str, Any] = {"model_type": model_type}
    if class_name:
        config["architectures"] = [class_name]
    config |= _present({name: keys.integer(key) for name, key in INTEGERS.items()})
    config |= _present({name: keys.number(key) for name, key in NUMBERS.items()})
    config |= _present({name: keys.token_id(key) for name, key in TOKEN_IDS.items()})
    config["vocab_size"] = _vocab_size(keys, tensors)
    config["tie_word_embeddings"] = bool(tensors) and "output.weight" not in tensors
    if keys.architecture == "gpt2":
        return _gpt2(config)
    if keys.architecture in MODEL_TYPES:
        _rotary(config, keys, rope_factors)
        FAMILIES.get(keys.architecture, _plain)(Model(config, keys, tensors))
    return config


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _vocab_size(keys: Keys, tensors: Mapping[str, TensorInfo]) -> int:
    if "token_embd.weight" in tensors and tensors["token_embd.weight"].shape:
        return tensors["token_embd.weight"].shape[0]
    tokens = keys.metadata.get("tokenizer.ggml.tokens")
    return keys.integer("vocab_size") or (len(tokens) if isinstance(tokens, list) else 0)


def _rotary(config: dict[str, Any], keys: Keys, factors: Mapping[str, list[float]]) -> None:
    heads = config.get("num_attention_heads") or 1
    config.setdefault("num_key_value_heads", heads)
    config.setdefault("head_dim", config.get("hidden_size", 0) // heads)
    config.setdefault("rope_theta", 10_000.0)
    rotary = keys.integer("rope.dimension_count") or config["head_dim"]
    if 0 < rotary < config["head_dim"]:
        config["partial_rotary_factor"] = rotary / config["head_dim"]
    config["rope_scaling"] = rope_scaling(keys, factors, rotary)


def _gpt2(config: dict[str, Any]) -> dict[str, Any]:
    config = {GPT2_NAMES.get(name, name): value for name, value in config.items()}
    config.pop("rope_theta", None)
    config.pop("num_key_value_heads", None)
    return config | {"n_ctx": config.get("n_positions"), "activation_function": "gelu_new"}


def _plain(model: Model) -> None:
    model.config["hidden_act"] = "silu"


def _llama(model: Model) -> None:
    model.config["hidden_act"] = "silu"
    model.config["attention_bias"] = "blk.0.attn_q.bias" in model.tensors
    model.config["mlp_bias"] = "blk.0.ffn_up.bias" in model.tensors


def _granite(model: Model) -> None:
    _llama(model)
    usual = max(model.config["head_dim"], 1) ** -0.5
    model.config["attention_multiplier"] = model.keys.number("attention.scale") or usual
    model.config["embedding_multiplier"] = model.keys.number("embedding_scale") or 1.0
    model.config["residual_multiplier"] = model.keys.number("residual_scale") or 1.0
    model.config["logits_scaling"] = model.keys.number("logit_scale") or 1.0


def _phi3(model: Model) -> None:
    model.config["hidden_act"] = "silu"
    model.config["sliding_window"] = model.keys.integer("attention.sliding_window") or None
    original = model.keys.integer("rope.scaling.original_context_length")
    if original:
        model.config["original_max_position_embeddings"] = original


def _gemma2(model: Model) -> None:
    _gemma(model)
    model.config["sliding_window"] = model.keys.integer("attention.sliding_window") or 4096
    model.config["layer_types"] = _layer_types(model, 2)


def _gemma3(model: Model) -> None:
    _gemma(model)
    window = model.keys.integer("attention.sliding_window") or None
    model.config["sliding_window"] = window
    model.config["sliding_window_pattern"] = 6
    model.config["layer_types"] = _layer_types(model, 6 if window else 1)
    model.config["rope_local_base_freq"] = model.keys.number("rope.freq_base_swa") or 10_000.0


def _gemma(model: Model) -> None:
    """llama.cpp knows the 27 B models by their layer count; only they scale queries otherwise."""
    model.config["hidden_activation"] = "gelu_pytorch_tanh"
    model.config["attn_logit_softcapping"] = model.keys.number("attn_logit_softcapping")
    model.config["final_logit_softcapping"] = model.keys.number("final_logit_softcapping")
    scalar = model.config["head_dim"]
    if model.config.get("num_hidden_layers") == LAYERS_OF_27B[model.keys.architecture]:
        scalar = model.config.get("hidden_size", 0) // (model.config.get("num_attention_heads") or 1)
    model.config["query_pre_attn_scalar"] = scalar


def _layer_types(model: Model, period: int) -> list[str]:
    """Every `period`-th layer sees everything, unless the file lists the layers itself."""
    count = min(model.config.get("num_hidden_layers", 0), 4096)
    listed = model.keys.values("attention.sliding_window_pattern")
    if listed and len(listed) == count:
        return ["sliding_attention" if windowed else "full_attention" for windowed in listed]
    return ["full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(count)]


FAMILIES: Mapping[str, Callable[[Model], None]] = {
    "llama": _llama,
    "granite": _granite,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
}
