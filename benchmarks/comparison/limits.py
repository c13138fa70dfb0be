"""The machine's own limits over a run: reading memory, int8 and bf16, measured before every turn.

A virtual machine's speed changes from minute to minute: the limit is the best of all turns, and what was
measured just before an engine's turns says how the machine was then.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.comparison.results import Limits
from fairway.errors import UnsupportedError
from fairway.kernels.machine_limits import measure_limits


@dataclass
class LimitsMeter:
    """Collects. Measures nothing where no native kernels run."""

    threads: int
    limits: Limits = field(default_factory=Limits)

    def measure(self) -> float | None:
        """The int8 rate now."""
        try:
            found = measure_limits(threads=self.threads)
        except UnsupportedError:
            return None
        self.limits.add(found.memory_bytes_per_s, found.int8_ops_per_s, found.bf16_ops_per_s or 0.0)
        return found.int8_ops_per_s
