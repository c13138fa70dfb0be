"""How near a phase comes to what the machine can do, from a recorded program and measured limits.

Counts weights and matrix products, nothing else: attention, norms and sampling are what stands
between a share and 100 %. The rule: a share is the least time the machine could take over the time
that was taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass

from fairway.kernels.machine_limits import MachineLimits
from fairway.kernels.program import Linear, Program


@dataclass(frozen=True)
class Work:
    """Of the matrices of one forward pass. A multiplication and its addition are two operations."""

    weight_bytes: int = 0
    """Read once per step, however many tokens it has."""
    int8_ops: int = 0
    """Products of low-bit weights with int8 activations."""
    float_ops: int = 0
    int8_results: int = 0
    """Sums that the int8 products end in."""

    def __add__(self, other: Work) -> Work:
        return Work(
            self.weight_bytes + other.weight_bytes,
            self.int8_ops + other.int8_ops,
            self.float_ops + other.float_ops,
            self.int8_results + other.int8_results,
        )

    def times(self, tokens: float) -> Work:
        """The work of a step of `tokens` tokens."""
        return Work(
            self.weight_bytes,
            round(self.int8_ops * tokens),
            round(self.float_ops * tokens),
            round(self.int8_results * tokens),
        )

    @property
    def ops(self) -> int:
        return self.int8_ops + self.float_ops


@dataclass(frozen=True)
class PassWork:
    """A forward pass: what every token costs, and what only those cost whose logits are wanted."""

    tokens: Work
    outputs: Work

    @classmethod
    def of(cls, program: Program) -> PassWork:
        sums = {"tokens": Work(), "outputs": Work()}
        for operation in program.operations:
            if isinstance(operation, Linear):
                sums[operation.x.rows] += _linear(operation)
        return cls(sums["tokens"], sums["outputs"])

    def step(self, tokens: int, outputs: int) -> Work:
        return self.tokens.times(tokens) + self.outputs.times(outputs)


def _linear(operation: Linear) -> Work:
    matrix = operation.matrix
    ops = 2 * matrix.rows * matrix.columns
    if matrix.is_integer:
        return Work(matrix.num_bytes, int8_ops=ops, int8_results=matrix.rows)
    return Work(matrix.num_bytes, float_ops=ops)


@dataclass(frozen=True)
class Share:
    """One phase beside the limits."""

    bytes_per_s: float
    ops_per_s: float
    memory_share: float
    products_share: float

    @classmethod
    def of(cls, work: Work, seconds: float, limits: MachineLimits) -> Share:
        """`work` done in `seconds`."""
        least_s = work.int8_ops / limits.int8_ops_per_s + work.float_ops / limits.f32_ops_per_s
        return cls(
            bytes_per_s=work.weight_bytes / seconds,
            ops_per_s=work.ops / seconds,
            memory_share=work.weight_bytes / limits.memory_bytes_per_s / seconds,
            products_share=least_s / seconds,
        )

    @classmethod
    def median(cls, shares: Sequence[Share]) -> Share:
        """Of each number by itself."""
        return cls(*(statistics.median(values) for values in zip(*map(astuple, shares), strict=True)))

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}
