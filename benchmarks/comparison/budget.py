"""The minutes that a run may take: how many rounds fit, and when to stop in the middle of one.

A round begins when one as long as the last still fits; the first always does. Knows no engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Budget:
    """Counts from its making. Without `minutes` there is always time."""

    minutes: float | None = None
    clock: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.clock()

    @property
    def spent_s(self) -> float:
        return self.clock() - self.start

    @property
    def is_spent(self) -> bool:
        return self.minutes is not None and self.spent_s >= 60 * self.minutes

    def rounds(self, count: int) -> Iterator[int]:
        """0, 1, ... as long as there is time for one more."""
        last_s = 0.0
        for number in range(count):
            before = self.spent_s
            if self.minutes is not None and before + last_s > 60 * self.minutes:
                return
            yield number
            last_s = self.spent_s - before
