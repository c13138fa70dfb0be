"""How much each group suffers from each type, at the cost of one measurement a group.

A group is rounded to a coarse type while the rest of the model is exact. For other types its divergence is in
proportion to their squared rounding error; what rounding activations adds, which no weight's error shows, is
found once for all of them and shared out. On the built-in model such sums are within a tenth of what whole
mixes measure (docs/guides/quantizing.md).
"""

from __future__ import annotations

from collections.abc import Callable

from fairway.autoquantize.front import Option
from fairway.autoquantize.groups import Group
from fairway.autoquantize.measure import Measuring
from fairway.autoquantize.task import Task, Types
from fairway.formats.floats import FLOATS

FINE = "Q8_0"
"""Its weights are nearly exact: what it costs is mostly the rounding of activations."""


def probes(task: Task) -> list[Types]:
    """Every mix that has to be measured; of those with a group, in the order of the groups."""
    found: list[Types] = [
        {job.name: group.probed for job in group.jobs} for group in task.groups if group.probed
    ]
    return [*found, _fine(task)]


def _fine(task: Task) -> Types:
    return {job.name: FINE for group in task.groups if FINE in group.errors for job in group.jobs}


def options_of(task: Task, measuring: Measuring, step: Callable[[str], None]) -> list[list[Option]]:
    """For every group what each type would cost. `step` is told after each measurement."""
    slopes = []
    for group in task.groups:
        slopes.append(_slope(task, group, measuring))
        step(group.name)
    floor = measuring.divergence(task.stored(_fine(task)))
    step(FINE)
    pairs = list(zip(task.groups, slopes, strict=True))
    floor -= sum(slope * group.errors.get(FINE, 0.0) for group, slope in pairs)
    share = max(0.0, floor) / (sum(slopes) or 1.0)
    return [_options(group, slope, share) for group, slope in pairs]


def _slope(task: Task, group: Group, measuring: Measuring) -> float:
    """Nats per token to a squared relative error of 1."""
    if (probed := group.probed) is None:
        return 0.0
    types = {job.name: probed for job in group.jobs}
    return measuring.divergence(task.stored(types)) / group.errors[probed]


def _options(group: Group, slope: float, share: float) -> list[Option]:
    return [
        Option(name, group.num_bytes(name), slope * (error + (0.0 if name in FLOATS else share)))
        for name, error in group.errors.items()
    ]
