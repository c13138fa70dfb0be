"""How positions are scaled, from a GGUF file's keys and its rope tensors to `rope_scaling`.

GGUF bakes Llama 3's scaling into one divisor per frequency; the formula's numbers are recovered
and kept only if they give back every divisor. Otherwise the divisors themselves are handed over, as
longrope factors with an attention factor of one, which means exactly the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fairway.formats.gguf_keys import Keys, shortest

LLAMA3_CONTEXT, LLAMA3_LOW, LLAMA3_HIGH = 8192, 1.0, 4.0


def rope_scaling(keys: Keys, factors: Mapping[str, list[float]], rotary: int) -> dict[str, Any] | None:
    """Hugging Face's `rope_scaling`, or None. `factors`: rope tensor name -> values [rotary / 2]."""
    if "rope_freqs.weight" in factors:
        return _from_divisors(keys, factors["rope_freqs.weight"], rotary)
    long = factors.get("rope_factors_long.weight")
    short = factors.get("rope_factors_short.weight")
    if long is not None and short is not None:
        return _longrope(keys, long, short)
    return _from_keys(keys)


def _from_keys(keys: Keys) -> dict[str, Any] | None:
    kind = keys.text("rope.scaling.type")
    factor = keys.number("rope.scaling.factor") or keys.number("rope.scale_linear")
    if kind in ("none", "longrope") or not factor or (kind is None and factor == 1.0):
        return None
    scaling: dict[str, Any] = {"rope_type": kind or "linear", "factor": factor}
    if kind == "yarn":
        optional = {
            "original_max_position_embeddings": keys.integer("rope.scaling.original_context_length"),
            "attention_factor": keys.number("rope.scaling.attn_factor"),
            "beta_fast": keys.number("rope.scaling.yarn_beta_fast"),
            "beta_slow": keys.number("rope.scaling.yarn_beta_slow"),
        }
        scaling |= {name: value for name, value in optional.items() if value is not None}
    return scaling


def _longrope(keys: Keys, long: list[float], short: list[float]) -> dict[str, Any]:
    scaling: dict[str, Any] = {"rope_type": "longrope", "long_factor": long, "short_factor": short}
    original = keys.integer("rope.scaling.original_context_length")
    attention = keys.number("rope.scaling.attn_factor")
    if original:
        scaling["original_max_position_embeddings"] = original
    if attention is not None and not _is_default_attention(keys, original, attention):
        scaling["attention_factor"] = attention
    return scaling


def _is_default_attention(keys: Keys, original: int | None, attention: float) -> bool:
    """Whether `attention` is what longrope computes from the two context lengths anyway."""
    context = keys.integer("context_length")
    if not original or not context or original <= 1:
        return False
    ratio = context / original
    default = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
    return math.isclose(attention, default, rel_tol=1e-6)


def _from_divisors(keys: Keys, divisors: list[float], rotary: int) -> dict[str, Any] | None:
    if all(value == 1.0 for value in divisors):
        return None
    factor = shortest(max(divisors))
    theta = keys.number("rope.freq_base") or 10_000.0
    expected = llama3_divisors(theta, rotary, factor)
    if len(expected) == len(divisors) and np.allclose(expected, divisors, rtol=1e-5, atol=0):
        return {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": LLAMA3_LOW,
            "high_freq_factor": LLAMA3_HIGH,
            "original_max_position_embeddings": LLAMA3_CONTEXT,
        }
    same = {"rope_type": "longrope", "long_factor": divisors, "short_factor": divisors}
    return same | {"attention_factor": 1.0}


def llama3_divisors(theta: float, rotary: int, factor: float) -> list[float]:
    """What Llama 3.1 divides each of the rotary / 2 frequencies by."""
    divisors = []
    for pair in range(rotary // 2):
        turns = LLAMA3_CONTEXT * theta ** (-2 * pair / rotary) / (2 * math.pi)
        smooth = min(max((turns - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW), 0.0), 1.0)
        divisors.append(1 / ((1 - smooth) / factor + smooth))
    return divisors
