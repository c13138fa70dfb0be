"""Layer by layer to the first that departs, then to the step and the tensor within it.

Every layer of the target is given the source's own hidden states, so that each answers for itself; how
errors grow when each model goes its own way is measured beside it. Both run through the kernels that serve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fairway.proof.recorded import Recorded
from fairway.proof.steps import HEAD, steps_of
from fairway.proof.trace import BEFORE, states, trace_stage
from fairway.tensors import F32, I32

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class StepError:
    """One step, relative to what it writes or adds."""

    step: str
    kind: str
    error: float


@dataclass(frozen=True)
class StageError:
    """One stage. `own`: on the source's input, relative to what the stage adds; `grown`: each model on its
    own way, relative to the hidden states."""

    stage: str
    own: float
    grown: float
    steps: tuple[StepError, ...]
    """On the source's input too, in order."""


@dataclass(frozen=True)
class Departure:
    """The first step beyond the limit."""

    stage: str
    step: str
    error: float


@dataclass(frozen=True)
class LayersEvidence:
    """All stages in order; the limit is that of every step's and stage's own error."""

    num_tokens: int
    limit: float
    stages: tuple[StageError, ...]

    @property
    def departure(self) -> Departure | None:
        """None where everything is within the limit."""
        for row in self.stages:
            for step in row.steps:
                if not step.error <= self.limit:
                    return Departure(row.stage, step.step, step.error)
            if not row.own <= self.limit:
                return Departure(row.stage, row.stage, row.own)
        return None


def compare_layers(
    source: Recorded, target: Recorded, ids: I32, limit: float, progress: Progress | None = None
) -> LayersEvidence:
    """Both must have the same steps, as `compare_computations` says."""
    ours, theirs = states(source, ids), states(target, ids)
    stages: list[StageError] = []
    before: F32 | None = None
    for stage, want in ours.items():
        have = theirs[stage]
        stages.append(_compare(Part(source, target, stage, ids, before), relative_error(have, want, want)))
        if progress is not None:
            progress(len(stages), len(ours), stage)
        before = want
    return LayersEvidence(len(ids), limit, tuple(stages))


@dataclass(frozen=True)
class Part:
    """One stage of both models on the same input."""

    source: Recorded
    target: Recorded
    stage: str
    ids: I32
    hidden: F32 | None
    """The source's state before the stage; None for the embedding, which begins from the ids."""

    def trace(self, recorded: Recorded) -> dict[str, F32]:
        return trace_stage(recorded, self.stage, self.ids, self.hidden)


def _compare(part: Part, grown: float) -> StageError:
    ours, theirs = part.trace(part.source), part.trace(part.target)
    errors = []
    for step in steps_of(part.source):
        if step.stage == part.stage and step.name in theirs:
            want = ours[step.name]
            added = want if step.residual is None else want - ours[f"{step.name}{BEFORE}"]
            errors.append(StepError(step.name, step.kind, relative_error(theirs[step.name], want, added)))
    want = ours[part.stage]
    added = want if part.hidden is None or part.stage == HEAD else want - part.hidden
    return StageError(part.stage, relative_error(theirs[part.stage], want, added), grown, tuple(errors))


def relative_error(have: F32, want: F32, scale: F32) -> float:
    """rms(have - want) / rms(scale); 0 where both are equal, infinite where `scale` is nothing."""
    if np.array_equal(have, want):
        return 0.0
    with np.errstate(all="ignore"):
        apart = np.sqrt(np.mean(np.square(have.astype(np.float64) - want)))
        size = np.sqrt(np.mean(np.square(scale.astype(np.float64))))
        return float(apart / size) if size else float("inf")
