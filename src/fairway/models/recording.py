"""A program in the making: what the parts of a decoder share while they are recorded.

The rule: buffers have names and are shared by all layers, so memory does not grow with depth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fairway.kernels.program import Buffer, Matrix, Program
from fairway.models.config import DecoderConfig
from fairway.models.rope import Frequencies, frequencies
from fairway.models.rope_config import RopeConfig
from fairway.models.weights import WeightSource


@dataclass
class Recording:
    """One family's forward pass over one source of weights."""

    config: DecoderConfig
    weights: WeightSource
    context: int
    """Positions that will be served; some ropes depend on it."""
    takes_adapters: bool = False
    """Whether adapters may change the linear layers."""
    program: Program = field(default_factory=Program)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    ropes: dict[RopeConfig, Frequencies] = field(default_factory=dict)
    embedding: Matrix | None = None

    def buffer(self, name: str, width: int, rows: Literal["tokens", "outputs"] = "tokens") -> Buffer:
        """The buffer of that name; the first use decides its width."""
        if name not in self.buffers:
            self.buffers[name] = self.program.buffer(width, rows)
        return self.buffers[name].columns(0, width)

    def frequencies(self, layer: int) -> Frequencies:
        """The rope of a layer, computed once for all layers that share it."""
        rope = self.config.ropes[layer]
        if rope not in self.ropes:
            self.ropes[rope] = frequencies(rope, self.context)
        return self.ropes[rope]
