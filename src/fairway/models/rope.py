"""Rotary position frequencies: one function per scaling type.

Knows positions and angles, not models. The rule: frequencies are chosen once for the context that
is served, never by how long a request happens to be, so a cached key stays valid. The arithmetic
is float32 in the order transformers uses, so that angles agree to the last bit or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from fairway.errors import FormatError
from fairway.models.rope_config import RopeConfig
from fairway.tensors import F32

Frequencies: TypeAlias = tuple[F32, float]


def _powers(rope: RopeConfig, theta: float | None = None) -> F32:
    exponents = np.arange(0, rope.rotary, 2, dtype=np.float32) / np.float32(rope.rotary)
    base = float(np.float32(theta or rope.theta))
    # Computed in float64 and rounded once: float32 powers differ from one machine to the next.
    return np.power(base, exponents.astype(np.float64)).astype(np.float32)


def _inverse(rope: RopeConfig, theta: float | None = None) -> F32:
    return np.float32(1.0) / _powers(rope, theta)


def _default(rope: RopeConfig, _context: int) -> Frequencies:
    return _inverse(rope), 1.0


def _linear(rope: RopeConfig, _context: int) -> Frequencies:
    """Position interpolation: https://arxiv.org/abs/2306.15595"""
    return _inverse(rope) / np.float32(rope.factor), 1.0


def _dynamic(rope: RopeConfig, context: int) -> Frequencies:
    """NTK-aware scaling of the base, for the served context rather than for each request."""
    length = max(context, rope.max_positions)
    stretch = rope.factor * length / rope.max_positions - (rope.factor - 1)
    theta = rope.theta * stretch ** (rope.rotary / (rope.rotary - 2))
    return _inverse(rope, theta), 1.0


def _llama3(rope: RopeConfig, _context: int) -> Frequencies:
    """Llama 3.1: long wavelengths are divided by the factor, a band in between is blended."""
    plain = _inverse(rope)
    wavelength = np.float32(2 * math.pi) / plain
    low, high = rope.low_freq_factor, rope.high_freq_factor
    original = np.float32(rope.original_positions)
    blend = (original / wavelength - np.float32(low)) / np.float32(high - low)
    divided = plain / np.float32(rope.factor)
    blended = (np.float32(1) - blend) * plain / np.float32(rope.factor) + blend * plain
    result = np.where(wavelength > original / np.float32(low), divided, blended)
    return np.where(wavelength < original / np.float32(high), plain, result).astype(np.float32), 1.0


def _yarn(rope: RopeConfig, _context: int) -> Frequencies:
    """YaRN: https://arxiv.org/abs/2309.00071"""
    powers = _powers(rope)
    extrapolated = np.float32(1.0) / powers
    interpolated = np.float32(1.0) / (np.float32(rope.factor) * powers)
    keep = np.float32(1.0) - _yarn_ramp(rope)
    return interpolated * (np.float32(1.0) - keep) + extrapolated * keep, _yarn_attention(rope)


def _yarn_ramp(rope: RopeConfig) -> F32:
    def dimension(rotations: float) -> float:
        turns = rope.original_positions / (rotations * 2 * math.pi)
        return rope.rotary * math.log(turns) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.rotary - 1)
    if low == high:
        high += 0.001
    steps = (np.arange(rope.rotary // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    ramp: F32 = np.clip(steps, 0, 1)
    return ramp


def _yarn_attention(rope: RopeConfig) -> float:
    def scale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return scale(rope.mscale) / scale(rope.mscale_all_dim)
    return scale(1.0)


def _longrope(rope: RopeConfig, context: int) -> Frequencies:
    """Phi-3 (https://arxiv.org/abs/2402.13753): other factors once the context is beyond the original."""
    stretched = context > rope.original_positions
    factors = np.asarray(rope.long_factors if stretched else rope.short_factors, np.float32)
    return np.float32(1.0) / (factors * _powers(rope)), _longrope_attention(rope)


def _longrope_attention(rope: RopeConfig) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.factor <= 1:
        return 1.0
    return math.sqrt(1 + math.log(rope.factor) / math.log(rope.original_positions))


FORMULAS: dict[str, Callable[[RopeConfig, int], Frequencies]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}


def frequencies(rope: RopeConfig, context: int) -> Frequencies:
    """inv_freq float32 [rotary / 2] and the factor that cos and sin are multiplied by."""
    with np.errstate(all="ignore"):
        inv_freq, factor = FORMULAS[rope.type](rope, context)
    if not (np.isfinite(inv_freq).all() and math.isfinite(factor)):
        raise FormatError(f"The {rope.type} rope parameters give no finite frequencies.")
    return inv_freq.astype(np.float32), factor
