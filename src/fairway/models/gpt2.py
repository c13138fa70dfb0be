"""GPT-2: learned positions, LayerNorm with bias, no gate, no rotation.

Linear layers are stored input first (`Conv1D`); a bundle opened from GGUF is turned to match.
Source: https://github.com/openai/gpt-2
"""

from __future__ import annotations

from fairway.errors import FormatError
from fairway.kernels.program import AddPosition, Buffer, LayerNorm
from fairway.models.config import MOST_HEADS, MOST_LAYERS, DecoderConfig, read_activation
from fairway.models.decoder import (
    Projection,
    activated,
    attend,
    embed,
    logits,
    project_back,
    query_key_value,
    select,
)
from fairway.models.fields import Fields
from fairway.models.recording import Recording


def read(config: Fields) -> DecoderConfig:
    hidden_size = config.integer("n_embd", 768)
    heads = config.integer("n_head", 12, most=MOST_HEADS)
    if hidden_size % heads:
        raise FormatError(f"{config.where}: n_embd {hidden_size} is not a multiple of {heads} heads.")
    num_layers = config.integer("n_layer", 12, most=MOST_LAYERS)
    head_size = hidden_size // heads
    return DecoderConfig(
        model_type=config.text("model_type"),
        vocab_size=config.integer("vocab_size", 50257),
        hidden_size=hidden_size,
        intermediate_size=config.integer("n_inner", 4 * hidden_size),
        num_layers=num_layers,
        num_heads=heads,
        num_kv_heads=heads,
        head_size=head_size,
        max_context=config.integer("n_positions", 1024),
        norm_eps=config.positive("layer_norm_epsilon", 1e-5),
        activation=read_activation(config, "activation_function", "gelu_new"),
        tied_embeddings=config.flag("tie_word_embeddings", True),
        windows=(None,) * num_layers,
        attention_scale=head_size**-0.5 if config.flag("scale_attn_weights", True) else 1.0,
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
    )


def record(model: Recording) -> None:
    config = model.config
    hidden = embed(model, "transformer.wte.weight")
    positions = model.weights.floats("transformer.wpe.weight", (config.max_context, config.hidden_size))
    model.program.record(AddPosition(positions, hidden))
    for layer in range(config.num_layers):
        prefix = f"transformer.h.{layer}"
        normed = layer_norm(model, hidden, f"{prefix}.ln_1")
        heads = query_key_value(model, normed, f"{prefix}.attn", fused="c_attn", input_first=True)
        attended = attend(model, heads, layer)
        project_back(model, attended, f"{prefix}.attn.c_proj", hidden, bias=True, input_first=True)
        normed = layer_norm(model, hidden, f"{prefix}.ln_2")
        wide = Projection((f"{prefix}.mlp.c_fc",), (config.intermediate_size,), bias=True, input_first=True)
        project_back(
            model, activated(model, normed, wide), f"{prefix}.mlp.c_proj", hidden, bias=True, input_first=True
        )
    last = layer_norm(model, select(model, hidden), "transformer.ln_f")
    logits(model, last)


def layer_norm(model: Recording, x: Buffer, name: str) -> Buffer:
    weight = model.weights.floats(f"{name}.weight", (x.width,))
    bias = model.weights.floats(f"{name}.bias", (x.width,))
    out = model.buffer(f"normed {x.rows}", x.width, x.rows)
    model.program.record(LayerNorm(x, weight, bias, out, model.config.norm_eps))
    return out
