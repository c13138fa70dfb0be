"""One table of tensor names, used both ways: GGUF <-> Hugging Face.

Knows spelling only; what the values need (row order, the one that gemma adds) is in
`gguf_tensors`. A name that is not in the table keeps its spelling, so everything can be listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LAYER = re.compile(r"^blk\.(\d{1,5})\.(.+)\.(weight|bias)$")

_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
}
_GATED = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_PRE_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_POST_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_SANDWICH_NORMS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    **_POST_NORMS,
}
_LLAMA = _ATTENTION | _GATED | _PRE_NORMS
_GEMMA = _ATTENTION | _GATED | _SANDWICH_NORMS

LAYER_NAMES: Mapping[str, Mapping[str, str]] = {
    "llama": _LLAMA,
    "granite": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "olmo2": _ATTENTION | _GATED | _POST_NORMS,
    "phi3": {
        **_PRE_NORMS,
        "attn_qkv": "self_attn.qkv_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_up": "mlp.gate_up_proj",
        "ffn_down": "mlp.down_proj",
    },
    "gpt2": {
        "attn_norm": "ln_1",
        "attn_qkv": "attn.c_attn",
        "attn_output": "attn.c_proj",
        "ffn_norm": "ln_2",
        "ffn_up": "mlp.c_fc",
        "ffn_down": "mlp.c_proj",
    },
}
"""GGUF architecture -> names inside a layer. The key is `general.architecture`."""

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_OUTER_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}

ROPE_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Not weights: numbers of the config that GGUF keeps as tensors. `gguf_config` reads them."""


def to_huggingface(architecture: str, name: str) -> str:
    """`blk.0.attn_q.weight` -> `model.layers.0.self_attn.q_proj.weight`"""
    if architecture not in LAYER_NAMES:
        return name
    if match := LAYER.match(name):
        layer, stem, kind = match.groups()
        if stem not in LAYER_NAMES[architecture]:
            return name
        return f"{_layers(architecture)}.{int(layer)}.{LAYER_NAMES[architecture][stem]}.{kind}"
    stem, _, kind = name.rpartition(".")
    outer = _outer(architecture)
    return f"{outer[stem]}.{kind}" if stem in outer and kind in ("weight", "bias") else name


def to_gguf(architecture: str, name: str) -> str | None:
    """The way back; None for a name that GGUF has no place for."""
    if architecture not in LAYER_NAMES:
        return None
    stem, _, kind = name.rpartition(".")
    outer = {hf: gguf for gguf, hf in _outer(architecture).items()}
    if stem in outer:
        return f"{outer[stem]}.{kind}"
    prefix = _layers(architecture) + "."
    if not stem.startswith(prefix):
        return None
    layer, _, inner = stem[len(prefix) :].partition(".")
    names = {hf: gguf for gguf, hf in LAYER_NAMES[architecture].items()}
    return f"blk.{layer}.{names[inner]}.{kind}" if inner in names else None


def _outer(architecture: str) -> Mapping[str, str]:
    return _OUTER_GPT2 if architecture == "gpt2" else _OUTER


def _layers(architecture: str) -> str:
    return "transformer.h" if architecture == "gpt2" else "model.layers"
