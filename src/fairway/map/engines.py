"""What is known of engines' speed: `engines.toml` as frozen dataclasses.

    engines()["native"].share("int8")

Knows no model and no device; `speed.py` joins the three.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fairway.settings import read_table

FILE = Path(__file__).parent / "engines.toml"


@dataclass(frozen=True)
class WeightChoice:
    """One type of weights that an engine runs."""

    name: str
    """As the engine's own users call it."""
    quantisation: str
    """The catalogue's id."""
    ops: Literal["int8", "float", "fp8"]
    """The arithmetic of its products."""
    memory_share: float | None = None
    products_share: float | None = None
    thread_bytes_per_s: float | None = None
    """Where they differ from the engine's."""
    flag: str = ""
    """What its command line needs besides."""


@dataclass(frozen=True)
class Engine:
    """One engine on one kind of silicon. Shares are of the device's limits, times in seconds."""

    id: str
    tool: str
    silicon: tuple[str, ...]
    basis: Literal["measured", "assumed"]
    error: float
    memory_share: float
    products_share: float
    step_s: float
    overhead_gb: float
    serve: str
    weights: tuple[WeightChoice, ...]
    format: str = ""
    """What it reads; empty: whatever Fairway opens."""
    float_share: float = 0.5
    float_ops: Literal["f32", "bf16"] = "f32"
    attention_share: float = 0.3
    int8_attention_share: float | None = None
    """Over a cache of int8, where it differs."""
    cache_share: float | None = None
    """Of reading memory, for keys and values, where it differs: they lie in blocks."""
    position_s: float = 0.0
    int8_position_s: float = 0.0
    """Of one key and value that a token's attention reads, on one thread, where that is more than reading."""
    sequence_s: float = 0.0
    logit_s: float = 0.0
    """Of choosing a token, for each word of the vocabulary."""
    thread_bytes_per_s: float = math.inf
    """Of weights from memory, however fast that is."""
    overlap: float = 1.7
    """1: reading and multiplying follow each other; large: the longer of the two counts alone."""
    datacentre_gain: float = 1.0
    parallel: bool = False
    """Whether it spreads one model over several devices."""
    paged: bool = False
    """Whether people share the cache, so that only what they really use must fit."""
    is_library: bool = False
    """Whether there is no server to start, only a library to write one with."""
    needs: tuple[str, ...] = ()
    """Features that a processor must have."""

    def with_choice(self, choice: WeightChoice) -> Engine:
        """Its shares for one type of weights."""
        return replace(
            self,
            memory_share=choice.memory_share or self.memory_share,
            products_share=choice.products_share or self.products_share,
            thread_bytes_per_s=choice.thread_bytes_per_s or self.thread_bytes_per_s,
        )

    def with_weights(self, name: str) -> Engine:
        """Its shares for a type by its name; its own for any other."""
        choice = next((each for each in self.weights if each.name == name), None)
        return self if choice is None else self.with_choice(choice)


@functools.cache
def engines() -> dict[str, Engine]:
    """By id, in the file's order: at equal merit the earlier one is preferred."""
    return {name: _engine(name, table) for name, table in read_table(FILE)["engines"].items()}


def _engine(name: str, table: dict[str, Any]) -> Engine:
    values = table | {key: tuple(table[key]) for key in ("silicon", "needs") if key in table}
    values["weights"] = tuple(WeightChoice(**each) for each in table["weights"])
    return Engine(id=name, **values)
