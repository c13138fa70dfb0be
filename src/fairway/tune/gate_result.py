"""What a gate found: figures per stage, what each hop cost, and whether the last stage may be published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fairway.errors import ProofFailed
from fairway.tune.gate import Score
from fairway.tune.metrics import Bar

FILE_NAME = "gate.json"


@dataclass(frozen=True)
class Stage:
    """A model, or a model with an adapter beside it."""

    name: str
    model: str
    adapter: str | None = None


@dataclass(frozen=True)
class GateResult:
    """Stages in the order of the hops."""

    data: str
    data_digest: str
    max_tokens: int
    stages: tuple[tuple[Stage, Score], ...]
    bars: tuple[Bar, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """What the last stage misses, in words."""
        figures = self.stages[-1][1].figures
        missed = (bar.missed_by(figures) for bar in self.bars)
        return tuple(each for each in missed if each is not None)

    def check(self, consequence: str) -> None:
        """Raises `ProofFailed` where a bar is missed. `consequence`: "Nothing was published." """
        if self.failures:
            name = self.stages[-1][0].name
            raise ProofFailed(f"{name} is below the bar: {'; '.join(self.failures)}. {consequence}".strip())

    def costs(self, at: int) -> Mapping[str, float]:
        """How far the figures of a stage are from those of the one before it; empty for the first."""
        if at == 0:
            return {}
        before, after = (self.stages[each][1].figures for each in (at - 1, at))
        pairs = ((name, before.get(name), value) for name, value in after.items())
        return {name: new - old for name, old, new in pairs if old is not None and new is not None}

    def to_dict(self) -> dict[str, Any]:
        stages = [
            {**asdict(stage), **asdict(score), "change": dict(self.costs(at))}
            for at, (stage, score) in enumerate(self.stages)
        ]
        return {
            "data": self.data,
            "data_digest": self.data_digest,
            "max_tokens": self.max_tokens,
            "stages": stages,
            "required": [str(bar) for bar in self.bars],
            "passed": not self.failures,
            "failures": list(self.failures),
        }
