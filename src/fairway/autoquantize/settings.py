"""What a user asks of a file: to be no larger, or to be no worse."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.errors import UsageError


@dataclass(frozen=True)
class Goal:
    """One of the two; the other is None."""

    budget_bytes: int | None = None
    """Of the whole file."""
    quality: float | None = None
    """The mean KL divergence from the source, in nats per token, that it stays within."""

    def __post_init__(self) -> None:
        if (self.budget_bytes is None) == (self.quality is None):
            raise UsageError(
                "--auto needs one goal: a size or a quality.",
                hint="--budget 6GB asks for the best file of that size, --quality 0.01 for the smallest.",
            )
        if self.quality is not None and not 0 < self.quality < float("inf"):
            raise UsageError(
                f"--quality {self.quality:g} is no divergence that a rounded model can have.",
                hint="It is a KL divergence in nats per token: 0.01 is hardly noticed, 0.1 is.",
            )
