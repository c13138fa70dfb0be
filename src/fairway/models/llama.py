"""Llama 2, 3, 3.1 and 3.2, SmolLM, TinyLlama: the plain pre-norm decoder that the others vary.

Source: https://arxiv.org/abs/2302.13971; the scaled rope of 3.1 is in `rope.py`.
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


def read(config: Fields) -> DecoderConfig:
    bias = config.flag("attention_bias")
    return replace(
        read_decoder(config), attention_bias=bias, output_bias=bias, mlp_bias=config.flag("mlp_bias")
    )


def record(model: Recording) -> None:
    config = model.config
    hidden = embed(model)
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}"
        normed = rms_norm(model, hidden, f"{prefix}.input_layernorm")
        heads = query_key_value(model, normed, f"{prefix}.self_attn")
        rotate(model, heads, layer)
        attended = attend(model, heads, layer)
        project_back(model, attended, f"{prefix}.self_attn.o_proj", hidden, bias=config.output_bias)
        normed = rms_norm(model, hidden, f"{prefix}.post_attention_layernorm")
        gate = gated(model, normed, f"{prefix}.mlp")
        project_back(model, gate, f"{prefix}.mlp.down_proj", hidden, bias=config.mlp_bias)
    last = rms_norm(model, select(model, hidden), "model.norm")
    logits(model, last)
