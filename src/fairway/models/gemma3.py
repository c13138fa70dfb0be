"""Gemma 3, text: Gemma 2 with q and k normalised per head instead of soft caps.

Five of six layers see a window and rotate with a rope of their own. `gemma3` is the multimodal
checkpoint, whose text model runs alone here. Source: https://arxiv.org/abs/2503.19786
"""

from __future__ import annotations

from dataclasses import replace

from fairway.models.config import DecoderConfig, read_activation, read_decoder, read_windows
from fairway.models.decoder import (
    embed,
    logits,
    norm_heads,
    query_key_value,
    rms_norm,
    rotate,
    select,
)
from fairway.models.fields import Fields
from fairway.models.gemma2 import finish_layer
from fairway.models.recording import Recording
from fairway.models.rope_config import RopeConfig, read_rope

# What the text_config of a multimodal checkpoint leaves out when it equals transformers' default.
DEFAULTS = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": True,
}


def read(config: Fields) -> DecoderConfig:
    config = config.with_defaults(DEFAULTS)
    plain = read_decoder(config, theta=1_000_000.0)
    bias = config.flag("attention_bias")
    pattern = config.integer("sliding_window_pattern", 6)
    local = [(layer + 1) % pattern != 0 for layer in range(plain.num_layers)]
    window = config.integer("sliding_window", 4096)
    return replace(
        plain,
        attention_bias=bias,
        output_bias=bias,
        activation=read_activation(config, "hidden_activation", "gelu_pytorch_tanh"),
        windows=read_windows(config, plain.num_layers, window, local),
        local_rope=_local_rope(config, plain),
        embedding_scale=plain.hidden_size**0.5,
        attention_scale=config.positive("query_pre_attn_scalar", 256) ** -0.5,
        attention_softcap=config.optional_positive("attn_logit_softcapping"),
        logits_softcap=config.optional_positive("final_logit_softcapping"),
    )


def _local_rope(config: Fields, plain: DecoderConfig) -> RopeConfig:
    if "sliding_attention" in config.section("rope_parameters"):
        return read_rope(config, plain.head_size, layers="sliding_attention")
    theta = config.positive("rope_local_base_freq", 10_000.0)
    positions = config.integer("max_position_embeddings")
    return read_rope(Fields({"rope_theta": theta, "max_position_embeddings": positions}), plain.head_size)


def record(model: Recording) -> None:
    hidden = embed(model)
    for layer in range(model.config.num_layers):
        prefix = f"model.layers.{layer}"
        normed = rms_norm(model, hidden, f"{prefix}.input_layernorm", offset=1)
        heads = query_key_value(model, normed, f"{prefix}.self_attn")
        norm_heads(model, heads.q, f"{prefix}.self_attn.q_norm", offset=1)
        norm_heads(model, heads.k, f"{prefix}.self_attn.k_norm", offset=1)
        rotate(model, heads, layer)
        finish_layer(model, hidden, heads, layer)
    last = rms_norm(model, select(model, hidden), "model.norm", offset=1)
    logits(model, last)
