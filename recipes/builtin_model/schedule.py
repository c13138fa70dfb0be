"""What a step does at a given share of the time budget: learning rate and window length.

Pure functions and a clock. The clock counts time spent in steps, is saved with the checkpoint,
and counts a step that took very long (a paused process, a busy machine) as a few usual ones.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from .settings import TrainPlan

LONGEST_STEP = 4.0


def learning_rate_share(progress: float, plan: TrainPlan) -> float:
    """Warm up, hold, then fall in a straight line to zero at progress 1."""
    rise = progress / plan.warmup_share if plan.warmup_share else 1.0
    fall = (1.0 - progress) / plan.decay_share
    return max(0.0, min(1.0, rise, fall))


def stage_of(progress: float, plan: TrainPlan) -> int:
    """Index into `plan.lengths` of the window length used at this progress."""
    end = 0.0
    for stage, share in enumerate(plan.length_shares):
        end += share
        if progress < end:
            return stage
    return len(plan.lengths) - 1


class StepClock:
    """Seconds spent in steps, with outliers cut to LONGEST_STEP times the recent median."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.recent: deque[float] = deque(maxlen=31)

    def add(self, step_s: float) -> None:
        counted = step_s
        if len(self.recent) >= 5:
            counted = min(step_s, LONGEST_STEP * median(self.recent))
        self.recent.append(counted)
        self.elapsed_s += counted

    def state_dict(self) -> dict[str, object]:
        return {"elapsed_s": self.elapsed_s, "recent": list(self.recent)}

    def load_state_dict(self, state: dict) -> None:
        self.elapsed_s = state["elapsed_s"]
        self.recent = deque(state["recent"], maxlen=31)
