"""Phi-3, 3.5 and Phi-4-mini: Llama with fused projections, partial rotation and longrope.

Source: https://arxiv.org/abs/2404.14219
"""

from __future__ import annotations

from dataclasses import replace

from fairway.models.config import DecoderConfig, read_decoder
from fairway.models.decoder import (
    attend,
    embed,
    gated,
    logits,
    project_back,
    query_key_value,
    rms_norm,
    rotate,
    select,
)
from fairway.models.fields import Fields
from fairway.models.recording import Recording

DEFAULTS = {"rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "original_max_position_embeddings": 4096}


def read(config: Fields) -> DecoderConfig:
    plain = read_decoder(config.with_defaults(DEFAULTS))
    return replace(plain, windows=(config.optional_integer("sliding_window"),) * plain.num_layers)


def record(model: Recording) -> None:
    hidden = embed(model)
    for layer in range(model.config.num_layers):
        prefix = f"model.layers.{layer}"
        normed = rms_norm(model, hidden, f"{prefix}.input_layernorm")
        heads = query_key_value(model, normed, f"{prefix}.self_attn", fused="qkv_proj")
        rotate(model, heads, layer)
        attended = attend(model, heads, layer)
        project_back(model, attended, f"{prefix}.self_attn.o_proj", hidden)
        normed = rms_norm(model, hidden, f"{prefix}.post_attention_layernorm")
        gate = gated(model, normed, f"{prefix}.mlp", fused="gate_up_proj")
        project_back(model, gate, f"{prefix}.mlp.down_proj", hidden)
    last = rms_norm(model, select(model, hidden), "model.norm")
    logits(model, last)
