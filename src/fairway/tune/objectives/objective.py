"""The seam between the loop and what it minimises.

The trainer owns steps, gradients and the optimizer; an objective says what an update computes and its loss.
The rule: what it answers depends on the weights, its own `state` and the number of the update alone, so that
a run can go on anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from fairway.registry.progress import Progress
from fairway.tensors import F32
from fairway.tune.job import Job

MEASURED_AT_ONCE = 2048
"""Tokens that are computed at once where no gradient is wanted."""


@dataclass(frozen=True)
class Batch:
    """What is computed at once."""

    items: Sequence[Any]
    weight: float
    """What its loss is a sum over: labels, pairs, answers."""
    num_tokens: int
    extra: Any = None
    """What the objective knows of the items beside them."""


@dataclass(frozen=True)
class Measured:
    """One batch's loss and figures."""

    loss: Tensor
    """The sum over what `Batch.weight` counts."""
    figures: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Name -> a sum, and how many it is over."""


class Objective:
    """One kind of training. `items` are what its `Kind` made of the rows."""

    shown: ClassVar[str | None] = None
    """The figure that people watch beside the loss."""
    held_out_name: ClassVar[str] = "loss"
    """What `judged` gives."""
    begins: ClassVar[bool] = False
    """Whether `begin` does anything."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def begin(self, progress: Progress) -> None:
        """Called once before the first update, with the weights that training starts from."""

    def state(self) -> dict[str, F32]:
        """What a checkpoint has to hold beside the weights."""
        return {}

    def restore(self, state: Mapping[str, F32]) -> None:
        """Takes back what `state` gave; `begin` is not called then."""

    def batches(self, step: int) -> list[Batch]:
        """What update `step` computes."""
        return [self.batch(one) for one in self.job.batches.at(step)]

    def held_out(self) -> list[Batch]:
        """What is measured of the held-out examples, without gradients."""
        return [self.batch(one, held_out=True) for one in alike(self.job.held_out)]

    def batch(self, numbers: Sequence[int], *, held_out: bool = False) -> Batch:
        """The examples of these numbers."""
        raise NotImplementedError

    def measured(self, batch: Batch) -> Measured:
        """With gradients, where they are enabled."""
        raise NotImplementedError

    def judged(self, batch: Batch) -> Measured:
        """Of held-out examples; less is better."""
        return self.measured(batch)

    def samples(self) -> list[dict[str, Any]]:
        """What the model wrote in the last update, to look at."""
        return []

    def total_tokens(self, tried: int) -> int:  # noqa: ARG002
        """That all updates see, one of which saw `tried`."""
        batches = self.job.batches
        return round(batches.num_tokens * batches.epoch_at(batches.num_steps))

    def summary(self, means: Mapping[str, float]) -> dict[str, float]:
        """Figures of a whole update, from their means over its batches."""
        return dict(means)


def alike(items: Sequence[Any], room: int = MEASURED_AT_ONCE) -> list[list[int]]:
    """The numbers of items of like length together, as many as are computed at once."""
    groups: list[list[int]] = []
    left = 0
    for number in sorted(range(len(items)), key=lambda each: len(items[each])):
        length = len(items[number])
        if length > left:
            groups.append([])
            left = max(room, length)
        groups[-1].append(number)
        left -= length
    return groups
