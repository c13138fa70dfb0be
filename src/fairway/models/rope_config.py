"""How positions turn into angles, as a config.json states it.

Reads the spelling of transformers 5 (`rope_parameters`) and of 4 (`rope_theta`, `rope_scaling`).
Knows the names of the scaling types but not their arithmetic, which is in `rope.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairway.errors import FormatError, UnsupportedError
from fairway.models.fields import Fields

TYPES = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")
ALIASES = {"su": "longrope"}


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
