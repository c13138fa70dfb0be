"""Granite 3: Llama with four multipliers: embedding, attention, residual and logits.

Source: https://github.com/ibm-granite/granite-3.0-language-models
"""

from __future__ import annotations

from dataclasses import replace

from fairway.models.config import DecoderConfig
from fairway.models.fields import Fields
from fairway.models.llama import read as read_llama
from fairway.models.llama import record

__all__ = ["read", "record"]


def read(config: Fields) -> DecoderConfig:
    return replace(
        read_llama(config),
        embedding_scale=config.number("embedding_multiplier", 1.0),
        attention_scale=config.number("attention_multiplier", 1.0),
        residual_scale=config.number("residual_multiplier", 1.0),
        logits_scale=1 / config.positive("logits_scaling", 1.0),
    )
