"""What somebody wants of a model, checked before anything is computed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from fairway.errors import UsageError
from fairway.map.settings import PlanSettings
from fairway.map.speed import Load

Goal: TypeAlias = Literal["latency", "throughput", "cheapest", "smallest", "train"]
GOALS: tuple[Goal, ...] = get_args(Goal)
HOURS_PER_MONTH = 730
BUDGET = re.compile(r"\$?(\d+(?:\.\d+)?)(?:/(h|month|M))?")
DEFAULT_USERS = {"throughput": 32, "cheapest": 8}
EXACT_WEIGHTS = ("bf16",)


@dataclass(frozen=True)
class Budget:
    """A limit in dollars per hour, per month or per million tokens."""

    dollars: float
    per: Literal["h", "month", "M"]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """ "100", "100/month", "2.5/h", "0.5/M". Raises `UsageError`."""
        match = BUDGET.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"--budget {text} is no budget.",
                hint="Write dollars: 100 or 100/month, 2.5/h, or 0.5/M for a million tokens.",
            )
        per = match[2] or "month"
        assert per in ("h", "month", "M")
        return cls(float(match[1]), per)  # type: ignore[arg-type]

    def __str__(self) -> str:
        words = {"h": "an hour", "month": "a month", "M": "a million tokens"}
        return f"${self.dollars:g} {words[self.per]}"


@dataclass(frozen=True)
class Question:
    """Goal, people at once, and limits. `goal` None: a good answer at a pleasant speed, as `fairway up`."""

    goal: Goal | None = None
    users: int = 1
    budget: Budget | None = None
    settings: PlanSettings = field(default_factory=PlanSettings)

    @classmethod
    def asked(
        cls, goal: Goal | None, users: int | None, budget: str | None, settings: PlanSettings
    ) -> Question:
        """Raises `UsageError` for wishes that contradict each other."""
        if goal == "smallest" and settings.weights in EXACT_WEIGHTS:
            raise UsageError(
                f"--goal smallest and --weights {settings.weights} contradict each other.",
                hint="Leave one of them away.",
            )
        if goal == "train" and users is not None:
            raise UsageError(
                "--goal train and --users contradict each other: training serves nobody.",
                hint="Leave --users away.",
            )
        wanted = users or DEFAULT_USERS.get(goal or "", 1)
        return cls(goal, wanted, None if budget is None else Budget.parse(budget), settings)

    def load(self, context: int) -> Load:
        """A prompt of 512 and an answer of 128 tokens, or what a short context leaves."""
        return Load(min(512, context // 2), min(128, max(2, context // 4)), self.users)
