"""OLMo 2: norms after each block instead of before, and q and k normalised over their full width.

Source: https://arxiv.org/abs/2501.00656
"""

from __future__ import annotations

from dataclasses import replace

from fairway.models.config import DecoderConfig, read_decoder
from fairway.models.decoder import (
    add_branch,
    attend,
    embed,
    gated,
    logits,
    project_branch,
    query_key_value,
    rms_norm,
    rms_norm_in_place,
    rotate,
    select,
)
from fairway.models.fields import Fields
from fairway.models.recording import Recording

DEFAULTS = {"rms_norm_eps": 1e-5}


def read(config: Fields) -> DecoderConfig:
    config = config.with_defaults(DEFAULTS)
    bias = config.flag("attention_bias")
    return replace(read_decoder(config), attention_bias=bias, output_bias=bias)


def record(model: Recording) -> None:
    config = model.config
    hidden = embed(model)
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}"
        heads = query_key_value(model, hidden, f"{prefix}.self_attn")
        rms_norm_in_place(model, heads.q, f"{prefix}.self_attn.q_norm")
        rms_norm_in_place(model, heads.k, f"{prefix}.self_attn.k_norm")
        rotate(model, heads, layer)
        attended = attend(model, heads, layer)
        branch = project_branch(model, attended, f"{prefix}.self_attn.o_proj", bias=config.output_bias)
        rms_norm_in_place(model, branch, f"{prefix}.post_attention_layernorm")
        add_branch(model, hidden, branch)
        gate = gated(model, hidden, f"{prefix}.mlp")
        branch = project_branch(model, gate, f"{prefix}.mlp.down_proj")
        rms_norm_in_place(model, branch, f"{prefix}.post_feedforward_layernorm")
        add_branch(model, hidden, branch)
    last = rms_norm(model, select(model, hidden), "model.norm")
    logits(model, last)
