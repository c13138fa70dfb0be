"""Mistral: Llama with, in its first version, a sliding window on every layer.

Source: https://arxiv.org/abs/2310.06825
"""

from __future__ import annotations

from dataclasses import replace

from fairway.errors import UnsupportedError
from fairway.models.config import DecoderConfig, read_decoder
from fairway.models.fields import Fields
from fairway.models.llama import record

__all__ = ["read", "record"]


DEFAULTS = {"num_key_value_heads": 8, "max_position_embeddings": 131_072, "sliding_window": 4096}


def read(config: Fields) -> DecoderConfig:
    config = config.with_defaults(DEFAULTS)
    plain = read_decoder(config)
    if "layer_types" in config and len(set(config.texts("layer_types"))) > 1:
        raise UnsupportedError(
            "A mistral whose layer_types differ is not supported; mistral has one window for all."
        )
    return replace(plain, windows=(config.optional_integer("sliding_window"),) * plain.num_layers)
