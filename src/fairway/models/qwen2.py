"""Qwen 2 and 2.5: Llama with biases on q, k and v, and optionally a window on the upper layers.

Source: https://arxiv.org/abs/2407.10671
"""

from __future__ import annotations

from dataclasses import replace

from fairway.models.config import DecoderConfig, read_decoder, upper_layers_slide
from fairway.models.fields import Fields
from fairway.models.llama import record

__all__ = ["read", "record"]


DEFAULTS = {"max_position_embeddings": 32_768}


def read(config: Fields) -> DecoderConfig:
    plain = read_decoder(config.with_defaults(DEFAULTS))
    return replace(plain, attention_bias=True, windows=upper_layers_slide(config, plain.num_layers))
