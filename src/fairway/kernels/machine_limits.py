"""What this machine can do at most: reading memory, and multiplying, with all the threads it may use.

Measured by the native kernels' own instructions, the best of many short passes. The rule: a
neighbour can make a pass slower and nothing can make it faster, so the best one is the limit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import psutil

from fairway.errors import UnsupportedError
from fairway.kernels.cores import allowed_cores
from fairway.kernels.extension import native, native_isas

READ_BYTES = 1 << 30
"""So much that no cache holds a part worth mentioning: of 256 MiB a large third level keeps enough to
make single passes half as fast again."""
PASSES = 300
QUICK_PASSES = 60
"""Enough to see what the machine gives at the moment; neighbours can halve it for seconds."""


@dataclass(frozen=True)
class MachineLimits:
    """Per second, over all threads. A multiplication and its addition are two operations."""

    threads: int
    memory_bytes_per_s: float
    int8_ops_per_s: float
    f32_ops_per_s: float
    bf16_ops_per_s: float | None = None
    """None where the processor has no product of bfloat16 numbers."""

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)

    def mean(self, other: MachineLimits) -> MachineLimits:
        """Between two measurements of one machine."""
        bf16 = None
        if self.bf16_ops_per_s is not None and other.bf16_ops_per_s is not None:
            bf16 = (self.bf16_ops_per_s + other.bf16_ops_per_s) / 2
        return MachineLimits(
            threads=self.threads,
            memory_bytes_per_s=(self.memory_bytes_per_s + other.memory_bytes_per_s) / 2,
            int8_ops_per_s=(self.int8_ops_per_s + other.int8_ops_per_s) / 2,
            f32_ops_per_s=(self.f32_ops_per_s + other.f32_ops_per_s) / 2,
            bf16_ops_per_s=bf16,
        )


def measure_limits(isa: str = "auto", threads: int | None = None, passes: int = PASSES) -> MachineLimits:
    """Takes a second or two, and 1 GiB or a quarter of what is free. Raises `UnsupportedError` where no
    native kernels run."""
    known = native_isas()
    if not known or (isa != "auto" and isa not in known):
        raise UnsupportedError(
            "This machine's limits are measured with native kernels, and none run here.",
            hint="Leave out --limits.",
        )
    isa = known[0] if isa == "auto" else isa
    team = native.Team(threads or allowed_cores())
    rates = {name: native.product_rate(team, isa, name, passes) for name in ("int8", "bf16", "f32")}
    return MachineLimits(
        threads=team.size,
        memory_bytes_per_s=native.reading_rate(team, isa, _read_bytes(), passes),
        int8_ops_per_s=rates["int8"],
        f32_ops_per_s=rates["f32"],
        bf16_ops_per_s=rates["bf16"] or None,
    )


def _read_bytes() -> int:
    return min(READ_BYTES, psutil.virtual_memory().available // 4)
