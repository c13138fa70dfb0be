"""The choice: sensitivities, the best mix at every size, and of those the one that reaches the goal.

Predictions order mixes well; how good one is, only its own measurement says. The rule: nothing is chosen that
was not measured whole, and no usual mix that reaches the goal better is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, TypeAlias

from fairway.autoquantize.front import Front, front_of
from fairway.autoquantize.measure import FEW_WINDOWS, Measured, Measuring
from fairway.autoquantize.sensitivity import options_of, probes
from fairway.autoquantize.settings import Goal
from fairway.autoquantize.speed import LEAST_S
from fairway.autoquantize.task import Task, Types
from fairway.errors import UsageError

Progress: TypeAlias = Callable[[int, int, str], None]

AUTO = "auto"
MOST_TRIES = 6
"""Mixes measured on the way to a quality, as long as one of them has passed."""
CLOSE = 0.97
"""Share of the quality asked for that is near enough to stop at."""
NEAR = 0.005
"""Sizes no further apart than this are one."""
MARGIN = 0.02
"""Aimed below the quality for every mix that failed."""


@dataclass(frozen=True)
class Candidate:
    """A mix that was measured."""

    name: str
    types: Types
    num_bytes: int
    """Of the whole file."""
    measured: Measured

    @property
    def divergence(self) -> float:
        return self.measured.likeness.kl_mean

    def to_dict(self) -> dict[str, Any]:
        likeness = self.measured.likeness
        return {
            "name": self.name,
            "num_bytes": self.num_bytes,
            "kl_mean": likeness.kl_mean,
            "kl_p99": likeness.kl_p99,
            "flips": self.measured.flips,
            "perplexity": likeness.perplexity,
            "perplexity_change": likeness.perplexity_change,
            "decode_tokens_per_s": self.measured.tokens_per_s,
        }


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it was chosen from."""

    task: Task
    goal: Goal
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    """The usual mixes and the one of its own, the largest first."""
    front: Front
    """Its divergences are predictions, on the scale of what was measured."""
    text: str
    num_tokens: int


class Chooser:
    """One task on its way to a choice. `num_windows` of text are to be run, as far as is known before."""

    def __init__(self, task: Task, measuring: Measuring, goal: Goal, progress: Progress) -> None:
        self._task, self._measuring, self._goal, self._progress = task, measuring, goal, progress
        self._done, self.num_windows = 0, self._windows(fresh=False)

    def estimate_s(self, window_s: float) -> float:
        """How long it will take, where a window takes so long, without what is known from an earlier run."""
        windows = self._windows(fresh=True)
        return windows * window_s + windows // self._measuring.num_windows * LEAST_S

    def _windows(self, *, fresh: bool) -> int:
        task, measuring = self._task, self._measuring
        few = [task.stored(types) for types in probes(task)]
        whole = [task.stored(types) for types in task.usual.values()]
        if fresh:
            few = [types for types in few if not measuring.knows(types, few=True)]
            whole = [types for types in whole if not measuring.knows(types, few=False)]
        tries = 1 if self._goal.quality is None else MOST_TRIES // 2
        return FEW_WINDOWS * len(few) + measuring.num_windows * (len(whole) + tries)

    def choose(self, text: str) -> Choice:
        """Raises `UsageError` for a quality that no mix reaches."""
        task = self._task
        usual = [self._measured(name, types) for name, types in task.usual.items()]
        options = options_of(task, self._measuring, lambda name: self._step(FEW_WINDOWS, name))
        front = _scaled(front_of(options, task.fixed_bytes), usual)
        goal = self._goal
        if goal.budget_bytes is not None:
            found = [self._at(front, front.within(goal.budget_bytes) or 0)]
        else:
            assert goal.quality is not None
            found = self._search(front, goal.quality)
        chosen = _best([*found, *usual], goal)
        own = chosen if chosen in found else found[-1]
        shown = sorted([own, *usual], key=lambda each: -each.num_bytes)
        return Choice(task, goal, chosen, tuple(shown), front, text, self._measuring.num_tokens)

    def _search(self, front: Front, quality: float) -> list[Candidate]:
        """Mixes nearer and nearer to the smallest that passes; predictions are corrected on the way."""
        low, high, ratio = -1, len(front), 1.0
        found: list[Candidate] = []
        passed = False
        while high - low > 1 and not (passed and _is_enough(found, front, (low, high), quality)):
            failed = sum(each.divergence > quality for each in found)
            index = front.reaching(quality * (1 - MARGIN * failed) / ratio)
            index = min(max(index, low + 1), high - 1) if failed < MOST_TRIES else (low + high) // 2
            found.append(self._at(front, index))
            ratio = found[-1].divergence / float(front.divergences[index]) or 1.0
            if found[-1].divergence <= quality:
                high, passed = index, True
            else:
                low = index
        return found

    def _at(self, front: Front, index: int) -> Candidate:
        return self._measured(AUTO, self._task.types(front.choices[index]))

    def _measured(self, name: str, types: Types) -> Candidate:
        measured = self._measuring.measure(self._task.stored(types))
        self._step(self._measuring.num_windows, name)
        return Candidate(name, types, self._task.size(types), measured)

    def _step(self, windows: int, what: str) -> None:
        self._done += windows
        self._progress(min(self._done, self.num_windows), self.num_windows, what)


def _is_enough(found: list[Candidate], front: Front, between: tuple[int, int], quality: float) -> bool:
    best = max(each.divergence for each in found if each.divergence <= quality)
    low, high = (int(front.num_bytes[max(index, 0)]) for index in between)
    return best >= CLOSE * quality or len(found) >= MOST_TRIES or high - low <= NEAR * high


def _scaled(front: Front, usual: list[Candidate]) -> Front:
    """Predictions come from a few windows; how these compare with all of them, the usual mixes say."""
    measured = [each.measured for each in usual if each.measured.few_divergence > 0]
    scale = median([each.likeness.kl_mean / each.few_divergence for each in measured] or [1.0])
    return replace(front, divergences=front.divergences * scale)


def _best(candidates: list[Candidate], goal: Goal) -> Candidate:
    """Of equals the one that was made for the goal."""
    if goal.budget_bytes is not None:
        fitting = [each for each in candidates if each.num_bytes <= goal.budget_bytes]
        return min(fitting, key=lambda each: (each.divergence, each.name != AUTO))
    assert goal.quality is not None
    passing = [each for each in candidates if each.divergence <= goal.quality]
    if not passing:
        nearest = min(each.divergence for each in candidates)
        raise UsageError(
            f"No mix stays within --quality {goal.quality:g}: the best that was measured has {nearest:.2g}.",
            hint=f"Ask for --quality {above(nearest)}, or keep it exact: fairway convert MODEL --to gguf.",
        )
    return min(passing, key=lambda each: (each.num_bytes, each.name != AUTO))


def above(value: float) -> str:
    """A number of two digits that is no smaller: 0.00103 is 0.0011."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step) * step:.2g}"
