"""Gemma 2: norms before and after each block, soft caps, and a window on every other layer.

Norm weights are stored around zero and used as 1 + weight; the embedding is scaled by the square
root of the width. Source: https://arxiv.org/abs/2408.00118
"""

from __future__ import annotations

from dataclasses import replace

from fairway.kernels.program import Buffer
from fairway.models.config import DecoderConfig, read_activation, read_decoder, read_windows
from fairway.models.decoder import (
    Heads,
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

DEFAULTS = {
    "head_dim": 256,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}


def read(config: Fields) -> DecoderConfig:
    config = config.with_defaults(DEFAULTS)
    plain = read_decoder(config)
    bias = config.flag("attention_bias")
    window = config.optional_integer("sliding_window")
    every_other = [layer % 2 == 0 for layer in range(plain.num_layers)]
    return replace(
        plain,
        attention_bias=bias,
        output_bias=bias,
        activation=read_activation(config, "hidden_activation", "gelu_pytorch_tanh"),
        windows=read_windows(config, plain.num_layers, window, every_other),
        embedding_scale=plain.hidden_size**0.5,
        attention_scale=config.positive("query_pre_attn_scalar", 256) ** -0.5,
        attention_softcap=config.optional_positive("attn_logit_softcapping"),
        logits_softcap=config.optional_positive("final_logit_softcapping"),
    )


def record(model: Recording) -> None:
    hidden = embed(model)
    for layer in range(model.config.num_layers):
        prefix = f"model.layers.{layer}"
        normed = rms_norm(model, hidden, f"{prefix}.input_layernorm", offset=1)
        heads = query_key_value(model, normed, f"{prefix}.self_attn")
        rotate(model, heads, layer)
        finish_layer(model, hidden, heads, layer)
    last = rms_norm(model, select(model, hidden), "model.norm", offset=1)
    logits(model, last)


def finish_layer(model: Recording, hidden: Buffer, heads: Heads, layer: int) -> None:
    """From rotated heads to the end of the layer; Gemma 3 shares it."""
    prefix = f"model.layers.{layer}"
    attended = attend(model, heads, layer)
    branch = project_branch(model, attended, f"{prefix}.self_attn.o_proj", bias=model.config.output_bias)
    rms_norm_in_place(model, branch, f"{prefix}.post_attention_layernorm", offset=1)
    add_branch(model, hidden, branch)
    normed = rms_norm(model, hidden, f"{prefix}.pre_feedforward_layernorm", offset=1)
    gate = gated(model, normed, f"{prefix}.mlp")
    branch = project_branch(model, gate, f"{prefix}.mlp.down_proj")
    rms_norm_in_place(model, branch, f"{prefix}.post_feedforward_layernorm", offset=1)
    add_branch(model, hidden, branch)
