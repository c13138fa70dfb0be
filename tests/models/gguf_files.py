"""Tiny models as GGUF files, by the conventions of llama.cpp's conversion, written out per family.

Independent of `fairway.formats`, which undoes these conventions: rows of q and k in rotating pairs
(llama, granite), norms plus one (gemma), GPT-2's matrices turned, rope divisors as a tensor.
"""

import math
import re

import numpy as np

from fairway.tensors import F32

ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
AFTER_THE_BLOCK = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}


def gguf_model(config: dict, weights: dict[str, F32]) -> tuple[dict, dict[str, F32]]:
    """Metadata and tensors, under their GGUF names, of a Hugging Face model."""
    model_type = config["model_type"]
    architecture = ARCHITECTURES.get(model_type, model_type)
    metadata = {"general.architecture": architecture}
    metadata |= {
        f"{architecture}.{key}": value for key, value in keys_of(config).items() if value is not None
    }
    tensors = {
        gguf_name(architecture, n): gguf_values(architecture, config, n, w) for n, w in weights.items()
    }
    return metadata, tensors | rope_tensors(config)


def gguf_name(architecture: str, name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    match = re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)", stem)
    assert match is not None, name
    names = LAYER | (AFTER_THE_BLOCK if architecture in ("gemma2", "gemma3", "olmo2") else {})
    return f"blk.{match.group(1)}.{names[match.group(2)]}.{kind}"


def gguf_values(architecture: str, config: dict, name: str, values: F32) -> F32:
    if architecture in ("llama", "granite") and ("q_proj" in name or "k_proj" in name):
        heads = config["num_attention_heads"]
        return in_pairs(values, heads if "q_proj" in name else config.get("num_key_value_heads", heads))
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return values + np.float32(1)
    if architecture == "gpt2" and re.search(r"\.c_\w+\.weight$", name):
        return np.ascontiguousarray(values.T)
    return values


def in_pairs(values: F32, heads: int) -> F32:
    """Value i and i + size / 2 of each head side by side."""
    shape = values.shape
    halves = values.reshape(heads, 2, shape[0] // heads // 2, *shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(shape)


def keys_of(config: dict) -> dict:
    if config["model_type"] == "gpt2":
        return {
            "context_length": config["n_positions"],
            "block_count": config["n_layer"],
            "embedding_length": config["n_embd"],
            "feed_forward_length": config.get("n_inner") or 4 * config["n_embd"],
            "attention.head_count": config["n_head"],
            "attention.layer_norm_epsilon": config["layer_norm_epsilon"],
        }
    heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or config["hidden_size"] // heads
    return {
        "context_length": config["max_position_embeddings"],
        "block_count": config["num_hidden_layers"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads", heads),
        "attention.key_length": head_size,
        "attention.value_length": head_size,
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": float(config["rope_theta"]),
        "rope.dimension_count": int(head_size * config.get("partial_rotary_factor", 1.0)),
        **scaling_keys(config),
        **family_keys(config),
    }


def family_keys(config: dict) -> dict:
    keys = {
        "attn_logit_softcapping": config.get("attn_logit_softcapping"),
        "final_logit_softcapping": config.get("final_logit_softcapping"),
        "attention.scale": config.get("attention_multiplier"),
        "embedding_scale": config.get("embedding_multiplier"),
        "residual_scale": config.get("residual_multiplier"),
        "logit_scale": config.get("logits_scaling"),
    }
    if config["model_type"] != "mistral":
        keys["attention.sliding_window"] = config.get("sliding_window")
    if "sliding_window_pattern" in config:
        pattern = config["sliding_window_pattern"]
        windowed = [(layer + 1) % pattern != 0 for layer in range(config["num_hidden_layers"])]
        keys["attention.sliding_window_pattern"] = windowed
    return keys


def scaling_keys(config: dict) -> dict:
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "longrope":
        original = config["original_max_position_embeddings"]
        ratio = config["max_position_embeddings"] / original
        return {
            "rope.scaling.original_context_length": original,
            "rope.scaling.attn_factor": math.sqrt(1 + math.log(ratio) / math.log(original)),
        }
    if kind not in ("linear", "yarn"):
        return {}
    return {
        "rope.scaling.type": kind,
        "rope.scaling.factor": scaling["factor"],
        "rope.scaling.original_context_length": scaling.get("original_max_position_embeddings"),
        "rope.scaling.yarn_beta_fast": scaling.get("beta_fast"),
        "rope.scaling.yarn_beta_slow": scaling.get("beta_slow"),
    }


def rope_tensors(config: dict) -> dict[str, F32]:
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "longrope":
        return {
            "rope_factors_long.weight": np.array(scaling["long_factor"], np.float32),
            "rope_factors_short.weight": np.array(scaling["short_factor"], np.float32),
        }
    if kind == "llama3":
        return {"rope_freqs.weight": llama3_divisors(config, scaling)}
    return {}


def llama3_divisors(config: dict, scaling: dict) -> F32:
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    original = scaling["original_max_position_embeddings"]
    divisors = []
    for pair in range(0, size, 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (pair / size)
        if wavelength < original / high:
            divisors.append(1.0)
        elif wavelength > original / low:
            divisors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)
