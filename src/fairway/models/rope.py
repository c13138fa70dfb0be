"""Rotary position frequencies: one `RopeConfig`, one function per scaling type.

Knows positions and angles, not models. The rule: frequencies are chosen once for the context that
is served, never by how long a request happens to be, so a cached key stays valid. The arithmetic
is float32 in the order transformers uses, so that angles agree to the last bit or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.models.fields import Fields
from fairway.tensors import F32


@dataclass(frozen=True)
class RopeConfig:
    """How positions turn into angles; a scaling type uses only the fields it knows."""

    theta: float
    rotary: int
    """Leading values of each head that rotate; the others pass through."""
    max_positions: int
    type: str = "default"
    factor: float = 1.0
    original_positions: int = 0
    """Context of the pretraining, before it was stretched."""
    attention_factor: float | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    @property
    def max_context(self) -> int:
        """Positions this rope reaches, where the config states them before stretching."""
        if self.type == "dynamic":
            return int(self.max_positions * self.factor)
        if self.type == "yarn":
            return max(self.max_positions, int(self.original_positions * self.factor))
        return self.max_positions


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


TYPES: dict[str, Callable[[RopeConfig, int], Frequencies]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
ALIASES = {"su": "longrope"}


def frequencies(rope: RopeConfig, context: int) -> Frequencies:
    """inv_freq float32 [rotary / 2] and the factor that cos and sin are multiplied by."""
    with np.errstate(all="ignore"):
        inv_freq, factor = TYPES[rope.type](rope, context)
    if not (np.isfinite(inv_freq).all() and math.isfinite(factor)):
        raise FormatError(f"config.json: the {rope.type} rope parameters give no finite frequencies.")
    return inv_freq.astype(np.float32), factor


def read_rope(
    config: Fields, head_size: int, *, layers: str | None = None, theta: float = 10_000.0
) -> RopeConfig:
    """The rope of a config of transformers 5 (`rope_parameters`) or 4 (`rope_theta`, `rope_scaling`).

    `layers` names the kind of layer whose own parameters are wanted, as in Gemma 3; `theta` is what
    the family uses when the config states none.
    """
    stated = _stated(config, layers)
    kind = _type(stated)
    max_positions = config.integer("max_position_embeddings", 2048)
    share = stated.number("partial_rotary_factor", config.number("partial_rotary_factor", 1.0))
    original = _original_positions(config, stated, max_positions)
    rope = RopeConfig(
        theta=stated.positive("rope_theta", config.positive("rope_theta", theta)),
        rotary=int(head_size * share),
        max_positions=max_positions,
        type=kind,
        factor=_factor(stated, kind, max_positions / original),
        original_positions=original,
        attention_factor=stated.optional_positive("attention_factor"),
        low_freq_factor=stated.positive("low_freq_factor", 1.0),
        high_freq_factor=stated.positive("high_freq_factor", 4.0),
        beta_fast=stated.positive("beta_fast", 32.0),
        beta_slow=stated.positive("beta_slow", 1.0),
        mscale=stated.optional_positive("mscale"),
        mscale_all_dim=stated.optional_positive("mscale_all_dim"),
        truncate=stated.flag("truncate", True),
        short_factors=stated.numbers("short_factor") if kind == "longrope" else (),
        long_factors=stated.numbers("long_factor") if kind == "longrope" else (),
    )
    _check(rope, head_size, stated)
    return rope


def _stated(config: Fields, layers: str | None) -> Fields:
    parameters = config.section("rope_parameters")
    if not parameters.values:
        parameters = config.section("rope_scaling")
    return parameters.section(layers) if layers is not None and layers in parameters else parameters


def _type(stated: Fields) -> str:
    kind = stated.text("rope_type", stated.text("type", "default"))
    kind = ALIASES.get(kind, kind)
    if kind not in TYPES:
        known = ", ".join(TYPES)
        raise UnsupportedError(f"Rope type {kind!r} is not supported; this engine has {known}.")
    return kind


def _original_positions(config: Fields, stated: Fields, max_positions: int) -> int:
    """Phi-3 states it beside the rope parameters; there it has priority."""
    key = "original_max_position_embeddings"
    return config.integer(key, stated.integer(key, max_positions))


def _factor(stated: Fields, kind: str, implied: float) -> float:
    if kind == "default":
        return 1.0
    if kind == "longrope" or (kind == "yarn" and "factor" not in stated):
        return stated.positive("factor", implied)
    return stated.positive("factor")


def _check(rope: RopeConfig, head_size: int, stated: Fields) -> None:
    if rope.rotary < 2 or rope.rotary % 2 or rope.rotary > head_size:
        raise FormatError(
            f"{stated.where}: {rope.rotary} of {head_size} values of a head cannot rotate in pairs."
        )
    if rope.theta <= 1:
        raise stated.wrong("rope_theta", "greater than 1")
    if rope.type == "longrope" and rope.original_positions == 1:
        raise stated.wrong("original_max_position_embeddings", "greater than 1")
    if rope.type == "dynamic" and rope.rotary == 2:
        raise FormatError(f"{stated.where}: dynamic scaling needs more than 2 rotating values per head.")
    if rope.type == "llama3" and rope.low_freq_factor == rope.high_freq_factor:
        raise FormatError(f"{stated.where}: low_freq_factor and high_freq_factor must differ.")
    if rope.type != "longrope":
        return
    for name, factors in (("short_factor", rope.short_factors), ("long_factor", rope.long_factors)):
        if len(factors) != rope.rotary // 2 or min(factors) <= 0:
            raise FormatError(
                f"{stated.where}: {name} must hold {rope.rotary // 2} positive numbers, not {len(factors)}."
            )
