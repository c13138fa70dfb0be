"""How much one step and the engine may hold: the user's wishes, and what the runner allows of them.

The rule: whoever is let to run is sure of one token and one output in every step.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairway.engine.runner import Runner
from fairway.errors import SettingsError


@dataclass(frozen=True)
class EngineSettings:
    """Wishes. None takes what the runner allows."""

    max_step_tokens: int | None = None
    """Tokens in one step; smaller values keep the pauses short that a long prompt causes for others."""
    max_sequences: int | None = None
    """Requests that run at the same time."""
    max_waiting: int = 512
    """Requests beyond those that may wait; more are answered Busy."""
    enable_prefix_caching: bool = True
    """Requests share the cache of equal beginnings, also with finished ones."""

    def __post_init__(self) -> None:
        for name in ("max_step_tokens", "max_sequences"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}; it must be at least 1, for example 64.", param=name)
        if self.max_waiting < 0:
            raise SettingsError(
                f"max_waiting is {self.max_waiting}; it must be at least 0, for example 512.",
                param="max_waiting",
            )


@dataclass(frozen=True)
class StepLimits:
    """What holds."""

    max_tokens: int
    max_sequences: int
    max_outputs: int

    @classmethod
    def of(cls, runner: Runner, settings: EngineSettings) -> StepLimits:
        tokens = min(runner.max_tokens, settings.max_step_tokens or runner.max_tokens)
        sequences = min(runner.max_sequences, settings.max_sequences or runner.max_sequences)
        return cls(tokens, min(sequences, tokens, runner.max_outputs), runner.max_outputs)
