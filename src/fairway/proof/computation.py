"""Whether two configs compute the same: their recorded steps side by side, without any weight.

Sees what a conversion of config.json can lose: a norm's epsilon, a rope's frequencies, a window, a scale,
an activation. The rule: numbers are compared, not spellings; float32 is as exact as a container must be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fairway.proof.hop import Side
from fairway.proof.recorded import record_shapes
from fairway.proof.steps import Step, steps_of

RELATIVE = 1e-6
NUM_SHOWN = 20


@dataclass(frozen=True)
class StepDifference:
    """One number of one step; "missing" and "present" where only one side has the step."""

    step: str
    parameter: str
    source: str
    target: str


@dataclass(frozen=True)
class ComputationEvidence:
    """`differences` holds at most 20 of `num_differing`."""

    num_steps: int
    num_differing: int
    differences: tuple[StepDifference, ...]


def compare_computations(source: Side, target: Side) -> ComputationEvidence:
    """Raises `UnsupportedError` for a family that this engine does not run."""
    if source.config is not None and target.config is not None:
        context = min(source.config.max_context, target.config.max_context)
    else:
        context = 1
    ours = {step.name: step for step in steps_of(record_shapes(source, context))}
    theirs = {step.name: step for step in steps_of(record_shapes(target, context))}
    found = [*_sizes(source, target), *_one_sided(ours, theirs), *_parameters(ours, theirs)]
    return ComputationEvidence(len(ours), len(found), tuple(found[:NUM_SHOWN]))


def _sizes(source: Side, target: Side) -> list[StepDifference]:
    names = ("vocab_size", "hidden_size", "max_context")
    pairs = [(name, getattr(source.config, name), getattr(target.config, name)) for name in names]
    return [StepDifference("model", name, str(a), str(b)) for name, a, b in pairs if a != b]


def _one_sided(ours: dict[str, Step], theirs: dict[str, Step]) -> list[StepDifference]:
    lost = [StepDifference(name, "step", "present", "missing") for name in ours if name not in theirs]
    return lost + [StepDifference(name, "step", "missing", "present") for name in theirs if name not in ours]


def _parameters(ours: dict[str, Step], theirs: dict[str, Step]) -> list[StepDifference]:
    return [
        StepDifference(name, parameter, _shown(value), _shown(theirs[name].parameters.get(parameter)))
        for name, step in ours.items()
        if name in theirs
        for parameter, value in step.parameters.items()
        if not _same(value, theirs[name].parameters.get(parameter))
    ]


def _same(a: Any, b: Any) -> bool:  # noqa: ANN401 (numbers, texts and arrays alike)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=RELATIVE, atol=0))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= RELATIVE * max(abs(a), abs(b))
    return bool(a == b)


def _shown(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        return f"{len(value)} from {value[0]:.6g} to {value[-1]:.6g}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
