"""Qwen 3: Llama whose q and k are normalised per head before they rotate.

Source: https://arxiv.org/abs/2505.09388
"""

from __future__ import annotations

from dataclasses import replace

from fairway.models.config import DecoderConfig, read_decoder, upper_layers_slide
from fairway.models.decoder import (
    attend,
    embed,
    gated,
    logits,
    norm_heads,
    project_back,
    query_key_value,
    rms_norm,
    rotate,
    select,
)
from fairway.models.fields import Fields
from fairway.models.recording import Recording

DEFAULTS = {"head_dim": 128, "max_position_embeddings": 32_768}


def read(config: Fields) -> DecoderConfig:
    plain = read_decoder(config.with_defaults(DEFAULTS))
    bias = config.flag("attention_bias")
    windows = upper_layers_slide(config, plain.num_layers)
    return replace(plain, attention_bias=bias, output_bias=bias, windows=windows)


def record(model: Recording) -> None:
    config = model.config
    hidden = embed(model)
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}"
        normed = rms_norm(model, hidden, f"{prefix}.input_layernorm")
        heads = query_key_value(model, normed, f"{prefix}.self_attn")
        norm_heads(model, heads.q, f"{prefix}.self_attn.q_norm")
        norm_heads(model, heads.k, f"{prefix}.self_attn.k_norm")
        rotate(model, heads, layer)
        attended = attend(model, heads, layer)
        project_back(model, attended, f"{prefix}.self_attn.o_proj", hidden, bias=config.output_bias)
        normed = rms_norm(model, hidden, f"{prefix}.post_attention_layernorm")
        gate = gated(model, normed, f"{prefix}.mlp")
        project_back(model, gate, f"{prefix}.mlp.down_proj", hidden)
    last = rms_norm(model, select(model, hidden), "model.norm")
    logits(model, last)
